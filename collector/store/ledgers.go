package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
)

// Ledger is the final account of an epoch whose spool has been drained and removed. Its counters are those of the spool. The ledger with
// the zero epoch is the sum of the oldest ledgers, which are not kept individually because their number must be limited.
type Ledger struct {
	Epoch     uuid.UUID         `json:"epoch"`
	Responses uint64            `json:"responses"`
	Recorded  uint64            `json:"recorded"`
	Excluded  uint64            `json:"excluded"`
	Dropped   map[string]uint64 `json:"dropped,omitempty"` // number by reason
}

// storedLedger is a ledger with its order number. The order number of the sum is that of the latest ledger in it.
type storedLedger struct {
	Ledger
	Order uint64 `json:"order"`
	Again uint64 `json:"again,omitempty"` // order number of its latest change, if it was stored more than once
}

// changed returns the number of the latest change. Of two copies of a ledger, the one with the larger number is newer.
func (l *storedLedger) changed() uint64 { return max(l.Order, l.Again) }

func (l *Ledger) add(o *Ledger) {
	l.Responses += o.Responses
	l.Recorded += o.Recorded
	l.Excluded += o.Excluded
	dropped := maps.Clone(l.Dropped)
	if dropped == nil {
		dropped = map[string]uint64{}
	}
	for reason, n := range o.Dropped {
		dropped[reason] += n
	}
	l.Dropped = dropped
}

// SetLedger durably stores the final ledger of an epoch, in the store and in the backup beside it. After it has returned without an
// error, the figures survive both the removal of the spool and the loss of the store. Storing a ledger again only changes its figures. If
// there are more than LedgersMax ledgers, the oldest is added to the sum under the zero epoch, and the watermark of its epoch is removed.
func (a *Accounts) SetLedger(l Ledger) error {
	if err := a.enter(); err != nil {
		return err
	}
	defer a.leave()
	if l.Epoch == uuid.Nil {
		return fmt.Errorf("%w: ledger without an epoch", ErrInvalid)
	}
	a.writeMu.Lock()
	defer a.writeMu.Unlock()
	if err := a.setLedger(l); err != nil {
		return fmt.Errorf("store ledger of epoch %s: %w", l.Epoch, err)
	}
	return nil
}

func (a *Accounts) setLedger(l Ledger) error {
	a.mu.Lock()
	next := a.counters
	next.ledgers++
	change := newLedgerChange(a.ledgers, l, next.ledgers, a.o.LedgersMax)
	a.mu.Unlock()

	if err := a.update(func(txn *badger.Txn) error { return change.write(txn, next) }); err != nil {
		return err
	}
	a.mu.Lock()
	a.counters = next
	change.apply(a.ledgers)
	if change.remove != uuid.Nil {
		delete(a.watermarks, change.remove)
	}
	a.mu.Unlock()
	// If the process crashes before the backup is written, the spool still exists, and its own figures count until the
	// ledger is stored again.
	crash.Point("store.ledger.before")
	if err := a.backUpLedgers(); err != nil {
		return err
	}
	crash.Point("store.ledger.after")
	return nil
}

// ledgerChange is a new or changed ledger. If there are too many ledgers, the change also moves the oldest one into the sum.
type ledgerChange struct {
	set    storedLedger
	sum    *storedLedger // nil if the sum does not change
	remove uuid.UUID     // the epoch that moves into the sum
}

func newLedgerChange(ledgers map[uuid.UUID]storedLedger, l Ledger, number uint64, ledgersMax int) ledgerChange {
	c := ledgerChange{set: storedLedger{Ledger: l, Order: number}}
	if known, ok := ledgers[l.Epoch]; ok {
		c.set.Order, c.set.Again = known.Order, number
	} else if len(ledgers) >= ledgersMax {
		c.sumOldest(ledgers)
	}
	return c
}

func (c *ledgerChange) sumOldest(ledgers map[uuid.UUID]storedLedger) {
	var oldest *storedLedger
	for epoch, l := range ledgers {
		if epoch != uuid.Nil && (oldest == nil || l.Order < oldest.Order) {
			oldest = &l
		}
	}
	if oldest == nil {
		return
	}
	sum := ledgers[uuid.Nil]
	sum.add(&oldest.Ledger)
	sum.Order = max(sum.Order, oldest.Order)
	c.sum, c.remove = &sum, oldest.Epoch
}

func (c *ledgerChange) write(txn *badger.Txn, next counters) error {
	if err := c.set.write(txn); err != nil {
		return err
	}
	if c.sum != nil {
		if err := c.sum.write(txn); err != nil {
			return err
		}
		for _, prefix := range [...]byte{prefixLedger, prefixWatermark} {
			if err := deleteKey(txn, epochKey(prefix, c.remove)); err != nil {
				return err
			}
		}
	}
	return next.write(txn)
}

func (c *ledgerChange) apply(ledgers map[uuid.UUID]storedLedger) {
	ledgers[c.set.Epoch] = c.set
	if c.sum != nil {
		ledgers[uuid.Nil] = *c.sum
		delete(ledgers, c.remove)
	}
}

func (l *storedLedger) write(txn *badger.Txn) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode ledger: %w", err)
	}
	return set(txn, epochKey(prefixLedger, l.Epoch), text)
}

func (a *Accounts) loadLedgers(txn *badger.Txn) error {
	first := uint64(math.MaxUint64)
	err := each(context.Background(), txn, []byte{prefixLedger}, nil, func(_, value []byte) error {
		var l storedLedger
		if err := json.Unmarshal(value, &l); err != nil {
			return fmt.Errorf("%w: ledger: %w", ErrDamaged, err)
		}
		a.ledgers[l.Epoch] = l
		if l.Epoch != uuid.Nil {
			first = min(first, l.Order)
		}
		return nil
	})
	if sum, ok := a.ledgers[uuid.Nil]; ok && sum.Order == 0 && first < math.MaxUint64 { // written by a version whose sum had no order number
		sum.Order = first - 1
		a.ledgers[uuid.Nil] = sum
	}
	return err
}

// Ledgers returns the ledgers of retired epochs in the order in which they were stored.
func (a *Accounts) Ledgers() []Ledger {
	a.mu.Lock()
	stored := slices.Collect(maps.Values(a.ledgers))
	a.mu.Unlock()
	slices.SortFunc(stored, func(x, y storedLedger) int { return cmp.Compare(x.Order, y.Order) })
	out := make([]Ledger, 0, len(stored))
	for _, l := range stored {
		l.Dropped = maps.Clone(l.Dropped)
		out = append(out, l.Ledger)
	}
	return out
}

package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
)

// Ledger is the final account of an epoch whose spool has been emptied and removed. The counters are those of the spool.
// The ledger with the zero epoch is the sum of all that are older than the ones kept one by one.
type Ledger struct {
	Epoch     uuid.UUID         `json:"epoch"`
	Responses uint64            `json:"responses"`
	Recorded  uint64            `json:"recorded"`
	Excluded  uint64            `json:"excluded"`
	Dropped   map[string]uint64 `json:"dropped,omitempty"` // by reason
}

// storedLedger is a ledger with its place in the order of storing. The order of the sum is that of the latest in it.
type storedLedger struct {
	Ledger
	Order uint64 `json:"order"`
	Again uint64 `json:"again,omitempty"` // number of its latest change, if it was stored more than once
}

// changed is the number of its latest change: of two copies of a ledger, the one with the larger is the newer.
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

// SetLedger stores the final ledger of an epoch, synced, here and in the file beside the store: when it returns without an error,
// the figures outlive the spool, and the loss of the store. Storing it again changes nothing but its figures. When more than
// LedgersMax are kept, the oldest is added to the sum under the zero epoch, and its watermark is forgotten.
func (s *Store) SetLedger(l Ledger) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if l.Epoch == uuid.Nil {
		return fmt.Errorf("%w: ledger without an epoch", ErrInvalid)
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()

	s.mu.Lock()
	next := s.state
	next.ledgers++
	change := newLedgerChange(s.ledgers, l, next.ledgers, s.o.LedgersMax)
	s.mu.Unlock()

	if err := s.update(func(txn *badger.Txn) error { return change.write(txn, next) }); err != nil {
		return fmt.Errorf("store ledger of epoch %s: %w", l.Epoch, err)
	}
	s.mu.Lock()
	s.state = next
	change.apply(s.ledgers)
	if change.remove != uuid.Nil {
		delete(s.watermarks, change.remove)
	}
	s.mu.Unlock()
	// A death before this leaves the spool, whose own figures count until the ledger is stored again.
	crash.Point("store.ledger.before")
	if err := s.keepLedgers(); err != nil {
		return fmt.Errorf("store ledger of epoch %s: %w", l.Epoch, err)
	}
	crash.Point("store.ledger.after")
	return nil
}

// ledgerChange is one new or changed ledger, and what it pushes out.
type ledgerChange struct {
	set    storedLedger
	sum    *storedLedger // of all that were pushed out
	remove uuid.UUID
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

func (c *ledgerChange) write(txn *badger.Txn, next state) error {
	if err := setLedger(txn, &c.set); err != nil {
		return err
	}
	if c.sum != nil {
		if err := setLedger(txn, c.sum); err != nil {
			return err
		}
		for _, prefix := range [...]byte{prefixLedger, prefixWatermark} {
			if err := txn.Delete(epochKey(prefix, c.remove)); err != nil {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
	}
	return set(txn, []byte{prefixState}, next.encode())
}

func (c *ledgerChange) apply(ledgers map[uuid.UUID]storedLedger) {
	ledgers[c.set.Epoch] = c.set
	if c.sum != nil {
		ledgers[uuid.Nil] = *c.sum
		delete(ledgers, c.remove)
	}
}

func setLedger(txn *badger.Txn, l *storedLedger) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode ledger: %w", err)
	}
	return set(txn, epochKey(prefixLedger, l.Epoch), text)
}

func (s *Store) loadLedgers(txn *badger.Txn) error {
	first := uint64(math.MaxUint64)
	err := each(txn, []byte{prefixLedger}, nil, func(_, value []byte) error {
		var l storedLedger
		if err := json.Unmarshal(value, &l); err != nil {
			return fmt.Errorf("%w: ledger: %w", ErrDamaged, err)
		}
		s.ledgers[l.Epoch] = l
		if l.Epoch != uuid.Nil {
			first = min(first, l.Order)
		}
		return nil
	})
	if sum, ok := s.ledgers[uuid.Nil]; ok && sum.Order == 0 && first < math.MaxUint64 { // written before sums had one
		sum.Order = first - 1
		s.ledgers[uuid.Nil] = sum
	}
	return err
}

// Ledgers returns the ledgers of retired epochs in the order in which they were stored.
func (s *Store) Ledgers() []Ledger {
	s.mu.Lock()
	stored := slices.Collect(maps.Values(s.ledgers))
	s.mu.Unlock()
	slices.SortFunc(stored, func(a, b storedLedger) int { return cmp.Compare(a.Order, b.Order) })
	out := make([]Ledger, 0, len(stored))
	for _, l := range stored {
		l.Dropped = maps.Clone(l.Dropped)
		out = append(out, l.Ledger)
	}
	return out
}

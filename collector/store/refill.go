package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// A store that replaces a lost one has to be refilled: the responses that the lost store had archived are restored from the archive,
// object by object. Until then they count as quarantined. Responses that the archive does not have stay quarantined.
//
// Three rules ensure that no response is counted twice:
//
//   - One transaction writes the rows of an object, its catalogue entry, and the counters that they change. If there are too many rows
//     for one transaction, each transaction records in the entry how many of the rows have been counted ([catalogue.Plan.RefilledRows]).
//   - The spool delivers the events of an epoch in order, so the store knows which of them it took from the spool
//     ([Accounts.Refillable]). A refill skips these events.
//   - If the store took no events of the epoch from the spool, or none since it lost some, refilling an object moves the watermark to the
//     object's end: if the spool offers these events later, they are skipped.
//
// A store that was replaced by an older copy of itself has lost events in the same way (see [watermark]).

// ErrNotRefillable means that an object has responses that, according to the spools and ledgers, the lost store did not count.
var ErrNotRefillable = errors.New("the lost store did not have these responses")

// Refill is an archive object whose responses a lost store had counted and this store has not counted yet.
type Refill struct {
	Plan catalogue.Plan // the object's catalogue entry; ID is 0 if there is none yet; Elsewhere and similar fields are not read
	Last uint64         // the largest sequence number in the object
	Keys []stats.Key
	Rows []*stats.Row // the rows of Keys; if the object is refilled again, their order must be the same
	// Minutes are the minutes of Rows, or nil if they are unknown. The store uses only the minutes of hours for which it keeps minutes.
	Minutes [][]stats.EncodedMinute
	Drops   map[int64]stats.Drops // the figures of the object's drop records, by hour
}

// Refill counts the responses of an object, and adds the object to the catalogue. Refilling a complete object again changes nothing;
// refilling an interrupted one continues. Refill may run concurrently with everything except a call to [Catalogue.ImportObject] for the
// same object. The error wraps [ErrNotRefillable] if nothing shows that the lost store had the object's epoch.
func (s *Store) Refill(ctx context.Context, r *Refill) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.refill(ctx, r); err != nil {
		return fmt.Errorf("refill from %s: %w", r.Plan.Key, err)
	}
	return nil
}

func (s *Store) refill(ctx context.Context, r *Refill) error {
	p := withoutRuns(r.Plan)
	p.State, p.Imported, p.Blocks, p.Elsewhere = catalogue.Deleted, true, nil, p.Rows
	if p.ID != 0 {
		known, err := s.plan(catalogue.Deleted, p.ID)
		if err != nil || known == nil {
			return errors.Join(err, fmt.Errorf("%w: entry %d", ErrNoPlan, p.ID))
		}
		p = *known
	}
	if p.Refilled {
		return nil
	}
	if p.RefilledRows > len(r.Rows) || len(r.Keys) != len(r.Rows) || r.Minutes != nil && len(r.Minutes) != len(r.Rows) {
		return fmt.Errorf("%w: it has %d rows, of which %d are counted already", ErrInvalid, len(r.Rows), p.RefilledRows)
	}
	for limit := rowsChunk; !p.Refilled; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fitting(min(limit, len(r.Rows)-p.RefilledRows), func(n int) error { return s.refillRows(r, &p, n) })
		if err != nil {
			return err
		}
		limit = min(rowsChunk, max(1, 2*n))
	}
	return nil
}

// refillRows counts the next n rows of an object in one transaction, and updates the object's catalogue entry.
func (s *Store) refillRows(r *Refill, p *catalogue.Plan, n int) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	c, err := s.newRefillChange(r, p, n)
	if err != nil {
		return err
	}
	crash.Point("store.refill.before")
	if err := s.update(func(txn *badger.Txn) error { return s.writeRefill(txn, c) }); err != nil {
		return err
	}
	crash.Point("store.refill.after")
	s.refilled(c)
	*p = c.plan
	if c.ledger != nil {
		return s.backUpLedgers()
	}
	return nil
}

// refillChange holds everything that one transaction of a refill changes.
type refillChange struct {
	keys    []stats.Key
	rows    []*stats.Row
	minutes [][]minuteRow
	change  rowChange
	plan    catalogue.Plan
	next    counters
	named   bool // whether the epoch has its own watermark
	mark    watermark
	ledger  *storedLedger // nil if the ledger does not change
	drops   dropFigures
}

// newRefillChange computes a change. The caller holds writeMu and rowsMu.
func (s *Store) newRefillChange(r *Refill, p *catalogue.Plan, n int) (*refillChange, error) {
	done := p.RefilledRows + n
	c := &refillChange{keys: r.Keys[p.RefilledRows:done], rows: r.Rows[p.RefilledRows:done], plan: *p, drops: dropFigures{}}
	counted := uint64(0)
	for _, row := range c.rows {
		counted += row.Count
	}
	if counted > p.Elsewhere {
		return nil, fmt.Errorf("%w: %d of its responses are not counted here, but its rows have %d more", ErrInvalid, p.Elsewhere, counted-p.Elsewhere)
	}
	s.Accounts.mu.Lock()
	defer s.Accounts.mu.Unlock()
	c.next, c.mark, c.named = s.counters, s.watermarks[p.Epoch], s.named(p.Epoch)
	if !c.named && counted > s.unnamed() {
		return nil, ErrNotRefillable
	}
	c.count(counted, r.Last, s.ledgers)
	if c.plan.Elsewhere -= counted; c.plan.ID == 0 {
		c.next.nextPlan++
		c.plan.ID = c.next.nextPlan
	}
	c.plan.RefilledRows, c.plan.Refilled = done, done == len(r.Rows)
	if c.plan.Refilled {
		for hour, figures := range r.Drops {
			c.drops[dropsKey{hour, p.Epoch}] = figures
		}
	}
	var err error
	if c.minutes, err = s.keptMinutes(r, p.RefilledRows, done); err != nil {
		return nil, err
	}
	c.change = s.changeOf(c.keys, c.minutes)
	return c, nil
}

// count subtracts n responses from the quarantined total, and adds n to each of the totals applied, archived and deleted.
func (c *refillChange) count(n, last uint64, ledgers map[uuid.UUID]storedLedger) {
	totals := &c.next.totals
	totals.Applied += n
	totals.Archived += n
	totals.Deleted += n
	if !c.named {
		totals.Quarantined -= n
		return
	}
	back := min(n, c.mark.quarantined)
	c.mark.applied += n
	c.mark.quarantined -= back
	totals.Quarantined -= back
	if c.mark.from == 0 || c.mark.open() {
		c.mark.seq = max(c.mark.seq, last)
	}
	if l, finished := ledgers[c.plan.Epoch]; finished && back < n {
		totals.Quarantined += l.reconcile(&c.mark) // the ledger has also counted these responses as lost
		c.next.ledgers++
		l.Again = c.next.ledgers
		c.ledger = &l
	}
}

func (s *Store) writeRefill(txn *badger.Txn, c *refillChange) error {
	if err := s.addToStored(txn, c.keys, c.rows, c.minutes); err != nil {
		return err
	}
	if c.named {
		if err := c.mark.write(txn, c.plan.Epoch); err != nil {
			return err
		}
	}
	if c.ledger != nil {
		if err := c.ledger.write(txn); err != nil {
			return err
		}
	}
	if err := c.change.write(txn); err != nil {
		return err
	}
	if err := c.drops.write(txn); err != nil {
		return err
	}
	if err := s.setPlan(txn, &c.plan); err != nil {
		return err
	}
	return c.next.write(txn)
}

// refilled updates the state in memory after a change has been written. The caller holds writeMu and rowsMu, so no live row has been
// written or loaded since.
func (s *Store) refilled(c *refillChange) {
	s.Accounts.mu.Lock()
	defer s.Accounts.mu.Unlock()
	s.Statistics.mu.Lock()
	defer s.Statistics.mu.Unlock()
	s.counters = c.next
	if c.named {
		s.watermarks[c.plan.Epoch] = c.mark
	}
	if c.ledger != nil {
		s.ledgers[c.plan.Epoch] = *c.ledger
	}
	for i, key := range c.keys {
		if live := s.live[key]; live != nil {
			live.row.Merge(c.rows[i])
			live.persisted += c.rows[i].Count
		}
	}
	s.rowsWritten(&c.change, true)
}

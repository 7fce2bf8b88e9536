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

// A store that replaces a lost one has to be refilled: the archive brings back, object by object, the responses that the lost store had
// archived. Until then they count as quarantined. Responses that the archive does not have stay quarantined.
//
// Three rules ensure that no response is counted twice:
//
//   - One transaction writes the rows of an object, its catalogue entry, and the counters that they change. If the rows are too many for
//     one transaction, each transaction records in the entry how many of them have been counted ([catalogue.Plan.RefilledRows]).
//   - The store knows which events of an epoch it took from the spool, which delivers them in order ([Accounts.Refillable]). A refill
//     skips these events.
//   - If it took none, or none since it lost some, each object moves the watermark to its end: if the spool offers these events after
//     all, they are skipped.
//
// A store that was replaced by its own older copy has lost events in the same way (see [watermark]).

// ErrNotRefillable means that an object has responses that the lost store did not count, as far as spools and ledgers
// know.
var ErrNotRefillable = errors.New("the lost store did not have these responses")

// Refill is an archive object that a lost store had, and that this store does not count yet.
type Refill struct {
	Plan catalogue.Plan // the object's catalogue entry; its ID is 0 if there is none yet; Elsewhere and the like are not read
	Last uint64         // the largest sequence number in the object
	Keys []stats.Key
	Rows []*stats.Row // the rows of Keys, always in the same order when the object is offered again
	// Minutes are the minutes of Rows, or nil if they are unknown. They are used for hours for which the store has
	// minutes.
	Minutes [][]stats.EncodedMinute
	Drops   map[int64]stats.Drops // the figures of its drop records, by hour
}

// Refill counts the responses of an object, and adds the object to the catalogue. Refilling an object again changes
// nothing; after an interruption, it continues. It may run concurrently with everything except [Catalogue.ImportObject]
// of the same object. The error wraps [ErrNotRefillable] if the lost store is not known to have had the object's epoch.
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

// refillRows counts the next n rows of an object in one transaction, and updates its entry.
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

// refillChange is what one transaction of a refill changes.
type refillChange struct {
	keys    []stats.Key
	rows    []*stats.Row
	minutes [][]minuteRow
	change  rowChange
	plan    catalogue.Plan
	next    counters
	named   bool // whether the epoch has its own watermark
	mark    watermark
	ledger  *storedLedger // nil if it does not change
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

// count moves responses from the quarantined ones to those that are applied, archived and deleted.
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
		totals.Quarantined += l.reconcile(&c.mark) // the ledger had counted these responses as lost too
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

// refilled updates the state in memory after a change was written. The caller holds writeMu and rowsMu, so no live row
// was written or loaded in the meantime.
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

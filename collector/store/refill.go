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

// A store that began where another was lost is due to be refilled: whoever archives brings back, object by object, what the lost
// one had archived. Until then, and for good where the archive has nothing, it counts as quarantined.
//
// No response is counted twice, because of three rules:
//
//   - The rows of an object, its catalogue entry, and the figures that they change are written in one transaction. Where the rows
//     are too many for one, each transaction notes in the entry how many of them are in ([catalogue.Plan.RefilledRows]).
//   - The spool hands out an epoch in order, so the events that this store took from it are those from one sequence number on
//     ([Store.Refillable]). What an object holds of these is left out.
//   - Of an epoch that this store took nothing of, the watermark is moved to the end of each object: should the spool offer these
//     events after all, they are skipped.

// ErrNotRefillable says that an object holds responses that the lost store did not count, as far as spools and ledgers know.
var ErrNotRefillable = errors.New("the lost store did not have it")

// Refill is what an archive object holds of a lost store's responses that this store does not count yet.
type Refill struct {
	// Plan is the object's catalogue entry; its ID is 0 if the catalogue has none. Elsewhere and the like are not read.
	Plan catalogue.Plan
	Last uint64 // the largest sequence number in the object
	Keys []stats.Key
	Rows []*stats.Row          // of Keys; the same ones in the same order whenever the object is offered again
	Told map[int64]stats.Drops // by hour, what drop records in it say
}

// RefillDue reports whether the store is to be refilled.
func (s *Store) RefillDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refillDue
}

// EndRefill notes that everything has been refilled that can be.
func (s *Store) EndRefill() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.update(func(txn *badger.Txn) error { return deleteKey(txn, []byte{prefixRefill}) }); err != nil {
		return fmt.Errorf("end the refill: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refillDue = false
	return nil
}

// Refillable reports whether the lost store may have had responses of an epoch, as far as spools and ledgers know, and from which
// sequence number on this store took the epoch's events from the spool; 0: it took none.
func (s *Store) Refillable(epoch uuid.UUID) (from uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watermarks[epoch].from, s.named(epoch) || s.unnamed() > 0
}

// named reports whether a spool or a ledger names an epoch. The caller holds mu.
func (s *Store) named(epoch uuid.UUID) bool {
	_, finished := s.ledgers[epoch]
	_, known := s.watermarks[epoch]
	return finished || known || s.doubts[epoch] != 0
}

// unnamed is the number of responses that count as quarantined in the sum of the oldest ledgers, which names no epochs. The caller
// holds mu.
func (s *Store) unnamed() uint64 {
	if _, summed := s.ledgers[uuid.Nil]; !summed {
		return 0
	}
	n := s.state.totals.Quarantined
	for _, mark := range s.watermarks {
		n -= min(n, mark.quarantined)
	}
	return n
}

// AdoptedAfter calls fn with every entry of an object of another store whose ID is larger than a number, ascending.
func (s *Store) AdoptedAfter(ctx context.Context, id uint64, fn func(*catalogue.Plan) error) error {
	from, err := planKey(catalogue.Deleted, id+1)
	if err != nil {
		return err
	}
	return s.plansFrom(ctx, from[:2], from, func(p *catalogue.Plan) error {
		if !p.Adopted {
			return nil
		}
		return fn(p)
	})
}

// Refill counts what an object holds, and enters the object into the catalogue. Doing it again changes nothing; one that was
// interrupted goes on where it was. The object must not be adopted meanwhile, see [Store.Adopt]. It may run beside everything else.
// The error wraps [ErrNotRefillable] if the object is of no epoch that the lost store is known to have had.
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
	p.State, p.Adopted, p.Blocks, p.Elsewhere = catalogue.Deleted, true, nil, p.Rows
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
	if p.RefilledRows > len(r.Rows) || len(r.Keys) != len(r.Rows) {
		return fmt.Errorf("%w: %d of its %d rows are in", ErrInvalid, p.RefilledRows, len(r.Rows))
	}
	for most := chunkRowsMax; !p.Refilled; {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		n, err := fitting(min(most, len(r.Rows)-p.RefilledRows), func(n int) error { return s.refillRows(r, &p, n) })
		if err != nil {
			return err
		}
		most = min(chunkRowsMax, max(1, 2*n))
	}
	return nil
}

// refillRows counts the next n rows of an object in one transaction, and brings its entry up to date.
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
	if err := s.update(func(txn *badger.Txn) error { return c.write(s, txn) }); err != nil {
		return err
	}
	crash.Point("store.refill.after")
	s.refilled(c)
	*p = c.plan
	if c.ledger != nil {
		return s.keepLedgers()
	}
	return nil
}

// refillChange is what one transaction of a refill changes.
type refillChange struct {
	keys   []stats.Key
	rows   []*stats.Row
	plan   catalogue.Plan
	next   state
	named  bool // the epoch has a mark of its own
	mark   watermark
	ledger *storedLedger // nil: as it is
	drops  toldDrops
	hours  map[int64]bool
	names  map[string]nameSpan
}

// newRefillChange works out a change. The caller holds writeMu and rowsMu.
func (s *Store) newRefillChange(r *Refill, p *catalogue.Plan, n int) (*refillChange, error) {
	done := p.RefilledRows + n
	c := &refillChange{
		keys: r.Keys[p.RefilledRows:done], rows: r.Rows[p.RefilledRows:done], plan: *p,
		drops: toldDrops{}, hours: map[int64]bool{}, names: map[string]nameSpan{},
	}
	counted := uint64(0)
	for _, row := range c.rows {
		counted += row.Count
	}
	if counted > p.Elsewhere {
		return nil, fmt.Errorf("%w: it has %d responses that are not counted here, and rows of %d more", ErrInvalid, p.Elsewhere, counted-p.Elsewhere)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.next, c.mark, c.named = s.state, s.watermarks[p.Epoch], s.named(p.Epoch)
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
		for hour, told := range r.Told {
			c.drops[dropsKey{hour, p.Epoch}] = told
		}
	}
	for i := range c.keys {
		name := string(rowName(appendRowKey(nil, &c.keys[i])))
		s.noteName(name, c.keys[i].Hour)
		c.names[name], c.hours[c.keys[i].Hour] = s.names[name], true
	}
	return c, nil
}

// count moves responses from those that are quarantined to those that are applied, archived and no longer held.
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
	if c.mark.from == 0 {
		c.mark.seq = max(c.mark.seq, last)
	}
	if l, finished := ledgers[c.plan.Epoch]; finished && back < n {
		totals.Quarantined += l.settle(&c.mark) // it was lost to the ledger as well
		c.next.ledgers++
		l.Again = c.next.ledgers
		c.ledger = &l
	}
}

func (c *refillChange) write(s *Store, txn *badger.Txn) error {
	for i := range c.keys {
		key := appendRowKey(nil, &c.keys[i])
		includes, sum := uint64(0), new(stats.Row)
		_, err := get(txn, key, func(value []byte) (err error) {
			var body []byte
			if includes, body, err = rowBody(value); err == nil {
				err = sum.Decode(body)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("row %+v: %w", c.keys[i], err)
		}
		sum.Merge(c.rows[i])
		// It includes the batches that it did: a replay adds the others.
		if err := set(txn, key, appendRow(nil, includes, sum)); err != nil {
			return err
		}
	}
	if c.named {
		if err := set(txn, epochKey(prefixWatermark, c.plan.Epoch), c.mark.encode()); err != nil {
			return err
		}
	}
	if c.ledger != nil {
		if err := setLedger(txn, c.ledger); err != nil {
			return err
		}
	}
	for _, write := range []func() error{
		func() error { return dropMarks(txn, c.hours) },
		func() error { return s.writeNames(txn, c.names) },
		func() error { return c.drops.write(txn) },
		func() error { return s.setPlan(txn, &c.plan) },
		func() error { return set(txn, []byte{prefixState}, c.next.encode()) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// refilled brings what is in memory up to date with a change that was written. The caller holds writeMu and rowsMu, so no live row
// was written or loaded meanwhile.
func (s *Store) refilled(c *refillChange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = c.next
	if c.named {
		s.watermarks[c.plan.Epoch] = c.mark
	}
	if c.ledger != nil {
		s.ledgers[c.plan.Epoch] = *c.ledger
	}
	for i, key := range c.keys {
		s.stale[key.Hour] = true
		if live := s.live[key]; live != nil {
			live.row.Merge(c.rows[i])
			live.persisted += c.rows[i].Count
		}
	}
	s.rowsWritten(c.hours, c.names, true)
}

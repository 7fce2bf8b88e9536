package collector

import (
	"context"
	"errors"
	"sync"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// refiller is a Store that can be filled again; the store is one.
type refiller interface {
	Refill(ctx context.Context, r *store.Refill) error
	SetPathState(ctx context.Context, changes []store.StateChange) error
}

var errNoRefill = errors.New("this store cannot be filled again")

// refillState is what the drain loop and a refill have to tell each other.
type refillState struct {
	mu    sync.Mutex
	ready bool           // see Collector.ReadyToRefill
	hours map[int64]bool // whose rows were refilled since the last snapshot
}

// ReadyToRefill reports whether it is known which epochs a lost store may have archived, and which of their events this one has taken
// from the spools: the spools were compared with the store, and what waited in them has begun to be applied.
func (c *Collector) ReadyToRefill() bool {
	c.refills.mu.Lock()
	defer c.refills.mu.Unlock()
	return c.refills.ready
}

// Refill has the store count what an archive object holds, and the next snapshot show it.
func (c *Collector) Refill(ctx context.Context, r *store.Refill) error {
	to, ok := c.o.Store.(refiller)
	if !ok {
		return errNoRefill
	}
	err := to.Refill(ctx, r) // which may have counted a part of it
	c.refills.mu.Lock()
	defer c.refills.mu.Unlock()
	for i := range r.Keys {
		c.refills.hours[r.Keys[i].Hour] = true
	}
	return err //nolint:wrapcheck // names the object
}

// touchRefilled notes for the next snapshot what was refilled. The caller holds drainMu.
func (c *Collector) touchRefilled() {
	c.refills.mu.Lock()
	defer c.refills.mu.Unlock()
	for hour := range c.refills.hours {
		c.builder.Touch(hour)
	}
	clear(c.refills.hours)
}

// KnownRows are the names of rows that an archive holds, in the order in which they first appeared. They are as many as the path table
// had labels, whatever the number of hours.
type KnownRows struct {
	names  []stats.Key // without the hour
	proofs map[stats.Key]uint64
}

// NewKnownRows returns an empty list.
func NewKnownRows() *KnownRows { return &KnownRows{proofs: map[stats.Key]uint64{}} }

// Add adds the names of rows, and reports whether one of them was new.
func (k *KnownRows) Add(keys []stats.Key, rows []*stats.Row) (fresh bool) {
	for i, name := range keys {
		name.Hour = 0
		n, seen := k.proofs[name]
		if !seen {
			k.names = append(k.names, name)
			fresh = true
		}
		for _, s := range rows[i].Status {
			if paths.Proves(s.Code) {
				n += s.Count
			}
		}
		k.proofs[name] = n
	}
	return fresh
}

// Relearn has a labeler learn from the rows, so that older labels are shown under what was learnt from them, and what comes next finds
// its rows and no more room than there was. It returns what is to be stored.
func (k *KnownRows) Relearn(l *paths.Labeler) (changes []store.StateChange) {
	l.Begin()
	for _, name := range k.names {
		l.Known(name.Host, name.Method, name.Label, k.proofs[name])
	}
	l.Relearn()
	for _, c := range l.Changes() {
		changes = append(changes, store.StateChange{Key: c.Key, Value: c.Value})
	}
	return changes
}

// Relearn has the path table learn from rows that were refilled.
func (c *Collector) Relearn(ctx context.Context, k *KnownRows) error {
	to, ok := c.o.Store.(refiller)
	if !ok {
		return errNoRefill
	}
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	c.booksMu.Lock()
	defer c.booksMu.Unlock()
	if err := to.SetPathState(ctx, k.Relearn(c.o.Labeler)); err != nil {
		c.o.Labeler.Rollback()
		return err //nolint:wrapcheck // says what was attempted
	}
	c.o.Labeler.Commit()
	return nil
}

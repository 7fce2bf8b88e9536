package collector

import (
	"context"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// ReadyToRefill reports whether a refill may begin: the spools have been compared with the store, and for every epoch that still has
// events in a spool, at least one event has been applied. Before that, it is unknown which epochs the lost store may have archived, and
// which events will come from the spools instead.
func (c *Collector) ReadyToRefill() bool { return c.reconciler.ready.Load() }

// Refill adds the statistics of an archive object to the store. The next snapshot includes them.
func (c *Collector) Refill(ctx context.Context, r *store.Refill) error {
	err := c.o.Store.Refill(ctx, r) // even if it fails, some hours may have been added
	for i := range r.Keys {
		c.publisher.noteRefilled(r.Keys[i].Hour)
	}
	return err
}

// KnownRows holds the names of the rows in an archive, in the order in which they first appeared. Their number depends
// on the number of labels, not on the number of hours.
type KnownRows struct {
	names  []stats.Key          // without their hours
	proofs map[stats.Key]uint64 // number of responses that prove that the route exists
	grpc   map[stats.Key]bool   // rows that count gRPC calls
}

// NewKnownRows returns an empty list.
func NewKnownRows() *KnownRows {
	return &KnownRows{proofs: map[stats.Key]uint64{}, grpc: map[stats.Key]bool{}}
}

// Add adds the names of rows, and reports whether at least one of them was new.
func (k *KnownRows) Add(keys []stats.Key, rows []*stats.Row) (fresh bool) {
	for i, name := range keys {
		name.Hour = 0
		n, seen := k.proofs[name]
		if !seen {
			k.names = append(k.names, name)
			fresh = true
		}
		k.proofs[name] = n + paths.Proofs(rows[i])
		if len(rows[i].GRPC) > 0 {
			k.grpc[name] = true
		}
	}
	return fresh
}

// Relearn lets a labeler learn from the rows. Rows with older labels are then shown under the templates learned from these rows, and new
// events are counted in the rows that exist instead of adding more. Relearn returns the changes that the caller must store.
func (k *KnownRows) Relearn(l *paths.Labeler) []store.StateChange {
	l.Begin()
	for _, name := range k.names {
		l.Known(catalogue.RowName{Host: name.Host, Method: name.Method, Label: name.Label, Route: name.Route}, k.proofs[name], k.grpc[name])
	}
	l.Relearn()
	return stateChanges(l)
}

// Relearn lets the labeler learn from the refilled rows, and stores what it has learned.
func (c *Collector) Relearn(ctx context.Context, k *KnownRows) error {
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	c.storeMu.Lock()
	defer c.storeMu.Unlock()
	if err := c.o.Store.SetPathState(ctx, k.Relearn(c.o.Labeler)); err != nil {
		c.o.Labeler.Rollback()
		return err
	}
	c.o.Labeler.Commit()
	return nil
}

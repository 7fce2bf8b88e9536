package collector

import (
	"context"
	"fmt"
	"maps"

	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/spool"
)

// View reads the store's side of the accounting.
func (c *Collector) View(ctx context.Context) (accounting.View, error) {
	v, err := c.view(ctx)
	if err != nil {
		return v, fmt.Errorf("read the store's figures: %w", err)
	}
	for _, l := range c.o.Store.Ledgers() {
		v.Ledgers = append(v.Ledgers, spool.Ledger{
			Epoch: l.Epoch, Responses: l.Responses, Recorded: l.Recorded, Excluded: l.Excluded, Dropped: l.Dropped, Closed: true,
		})
	}
	return v, nil
}

// viewTries is how often view reads without holding up the drain loop.
const viewTries = 3

// view reads until nothing changed meanwhile; a store that is too busy for that is held still for once. One view is read at a
// time: however many clients ask, the drain loop is held up once in a while and not for all of them.
func (c *Collector) view(ctx context.Context) (accounting.View, error) {
	select {
	case c.viewing <- struct{}{}:
		defer func() { <-c.viewing }()
	case <-ctx.Done():
		return accounting.View{}, ctx.Err() //nolint:wrapcheck // the caller's own
	}
	for range viewTries {
		v, err := c.read(ctx)
		if err != nil || maps.Equal(c.o.Store.Watermarks(), v.Applied) {
			return v, err
		}
	}
	c.booksMu.Lock()
	defer c.booksMu.Unlock()
	return c.read(ctx)
}

func (c *Collector) read(ctx context.Context) (accounting.View, error) {
	applied := c.o.Store.Watermarks()
	totals, aggregated, err := c.o.Store.Account(ctx)
	return accounting.View{Applied: applied, Totals: accounting.Totals(totals), Aggregated: aggregated}, err
}

// Storage measures the data directory and counts what is in it.
func (c *Collector) Storage(ctx context.Context) (api.Storage, error) {
	totals, err := c.o.Store.Totals()
	if err != nil {
		return api.Storage{}, fmt.Errorf("read the store's figures: %w", err)
	}
	s := api.Storage{
		MeasuredAt: c.o.Now().UTC(), Bytes: map[string]int64{},
		BytesMax: c.o.BytesMax, FreeMin: c.o.FreeMin, State: c.Status().State,
		Counts: map[string]uint64{
			"applied": totals.Applied, "quarantined": totals.Quarantined, "archived": totals.Archived, "deleted": totals.Deleted,
		},
	}
	if left, err := c.spooled(ctx); err == nil {
		s.Counts["spooled"] = left
	}
	lsm, vlog := c.o.Store.Size()
	s.Bytes["store_lsm"], s.Bytes["store_vlog"] = lsm, vlog
	if c.o.DataDir == "" {
		return s, nil
	}
	u := c.guard.measure()
	s.MeasuredAt = u.at.UTC()
	maps.Copy(s.Bytes, u.parts)
	s.BytesTotal, s.FreeBytes = u.total, u.free
	return s, c.outlook(ctx, &s, u)
}

// outlook says how the directory grows and what that means, by the same rule as the capacity report: from its samples, what
// this process has watched itself, and now.
func (c *Collector) outlook(ctx context.Context, s *api.Storage, u usage) error {
	capacity := Capacity{At: u.at, BytesTotal: u.total, BytesMax: c.o.BytesMax, FreeBytes: u.free, FreeMin: c.o.FreeMin, RoomBytes: u.room}
	first := c.guard.first()
	err := capacity.grow(ctx, c.o.Store, store.CapacitySample{At: first.at, Bytes: first.parts}, store.CapacitySample{At: u.at, Bytes: u.parts})
	if err != nil {
		return fmt.Errorf("read earlier measurements: %w", err)
	}
	s.RoomBytes, s.DaysLeft, s.Limit = u.room, capacity.DaysLeft, capacity.Limit
	s.GrowthBytesPerDay = float64(capacity.GrowthPerDay["total"])
	return nil
}

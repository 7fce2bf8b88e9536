package collector

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/clock"
)

// Capacity says what the data directory takes, how fast it grows and when it is full.
type Capacity struct {
	At         time.Time        `json:"at"`
	Bytes      map[string]int64 `json:"bytes"` // allocated on disk, by part: spool, store, quarantine, archive, other
	BytesTotal int64            `json:"bytes_total"`
	BytesMax   int64            `json:"bytes_max"` // data.bytes_max; 0: no limit
	FreeBytes  int64            `json:"free_bytes"`
	FreeMin    int64            `json:"free_min"` // data.free_min; 0: no limit
	// RoomBytes is kept below BytesMax for what grows while applying pauses.
	RoomBytes int64             `json:"room_bytes"`
	Counts    map[string]uint64 `json:"counts"` // events, by part
	// Growth since the samples began, at most GrowthDays ago; absent until they span an hour.
	Since        *time.Time       `json:"since,omitempty"`
	GrowthPerDay map[string]int64 `json:"growth_bytes_per_day,omitempty"` // by part, and their total
	DaysLeft     *float64         `json:"days_left,omitempty"`            // absent while nothing grows
	Limit        string           `json:"limit,omitempty"`                // which one is reached first
}

// GrowthDays is how far back growth is measured: long enough that the days of a week do not matter.
const GrowthDays = 14

// capacityKept is how long samples are kept.
const capacityKept = 400 * 24 * time.Hour

// growthSpanMin is the shortest span from which a growth per day is told.
const growthSpanMin = time.Hour

// samples are what the store keeps of earlier measurements.
type samples interface {
	Capacity(ctx context.Context, since time.Time, fn func(store.CapacitySample) error) error
}

// CapacityOptions say what is measured.
type CapacityOptions struct {
	Store               *store.Store
	DataDir, ArchiveDir string // ArchiveDir is empty for an archive elsewhere
	BytesMax, FreeMin   int64
	SpoolBytesMax       int64            // see [Options]
	Now                 func() time.Time // default clock.Now
}

// MeasureCapacity measures, keeps the sample in the store, and compares it with earlier ones.
func MeasureCapacity(ctx context.Context, o CapacityOptions) (*Capacity, error) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	g := newGuard(Options{
		Store: o.Store, DataDir: o.DataDir, ArchiveDir: o.ArchiveDir, BytesMax: o.BytesMax, FreeMin: o.FreeMin, SpoolBytesMax: o.SpoolBytesMax, Now: o.Now,
	})
	u := g.measure()
	totals, err := o.Store.Totals()
	if err != nil {
		return nil, fmt.Errorf("read the store's figures: %w", err)
	}
	c := &Capacity{
		At: u.at.UTC(), Bytes: maps.Clone(u.parts), BytesTotal: u.total, BytesMax: o.BytesMax, FreeBytes: u.free, FreeMin: o.FreeMin, RoomBytes: u.room,
		Counts: map[string]uint64{
			"applied": totals.Applied, "quarantined": totals.Quarantined, "archived": totals.Archived, "deleted": totals.Deleted,
			"local": totals.Applied - totals.Deleted,
		},
	}
	if err := o.Store.AddCapacity(store.CapacitySample{At: c.At, Bytes: c.Bytes, Counts: c.Counts}); err != nil {
		return nil, fmt.Errorf("keep the capacity sample: %w", err)
	}
	return c, c.grow(ctx, o.Store)
}

// PruneCapacity removes samples that no report looks at any more.
func PruneCapacity(s *store.Store, now time.Time) (int, error) {
	return s.PruneCapacity(now.Add(-capacityKept))
}

// grow fits a line through the samples of the last days, part by part: those that the store keeps, and further ones.
func (c *Capacity) grow(ctx context.Context, s samples, further ...store.CapacitySample) error {
	fits := map[string]*fit{"total": {}}
	var first time.Time
	add := func(sample store.CapacitySample) error {
		if sample.At.After(c.At) {
			return nil // the clock was ahead
		}
		if first.IsZero() || sample.At.Before(first) {
			first = sample.At
		}
		days := sample.At.Sub(c.At).Hours() / 24
		total := int64(0)
		for part, n := range sample.Bytes {
			if fits[part] == nil {
				fits[part] = &fit{}
			}
			fits[part].add(days, float64(n))
			total += n
		}
		fits["total"].add(days, float64(total))
		return nil
	}
	err := s.Capacity(ctx, c.At.AddDate(0, 0, -GrowthDays), add)
	for i := range further {
		_ = add(further[i]) // its error is always nil
	}
	if err != nil || first.IsZero() || c.At.Sub(first) < growthSpanMin {
		return err
	}
	c.Since = &first
	c.GrowthPerDay = map[string]int64{}
	for part, f := range fits {
		c.GrowthPerDay[part] = int64(f.slope())
	}
	c.left()
	return nil
}

// left says how long it takes to reach the nearer limit at this growth.
func (c *Capacity) left() {
	perDay := float64(c.GrowthPerDay["total"])
	if perDay <= 0 {
		return
	}
	room, limit := c.FreeBytes-c.FreeMin, "data.free_min"
	if below := c.BytesMax - c.RoomBytes - c.BytesTotal; c.BytesMax > 0 && below < room {
		room, limit = below, "data.bytes_max"
	}
	days := max(float64(room), 0) / perDay
	c.DaysLeft, c.Limit = &days, limit
}

// fit is a least-squares line.
type fit struct{ n, x, y, xx, xy float64 }

func (f *fit) add(x, y float64) {
	f.n++
	f.x += x
	f.y += y
	f.xx += x * x
	f.xy += x * y
}

func (f *fit) slope() float64 {
	d := f.n*f.xx - f.x*f.x
	if d <= 0 {
		return 0
	}
	return (f.n*f.xy - f.x*f.y) / d
}

package collector

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/clock"
)

// Capacity describes how much disk space the data directory takes up, how fast it is growing, and when it will be full.
type Capacity struct {
	At         time.Time        `json:"at"`
	Bytes      map[string]int64 `json:"bytes"` // allocated on disk, by folder: spool, store, quarantine, archive, other
	BytesTotal int64            `json:"bytes_total"`
	BytesMax   int64            `json:"bytes_max"` // data.bytes_max; 0: no limit
	FreeBytes  int64            `json:"free_bytes"`
	FreeMin    int64            `json:"free_min"` // data.free_min; 0: no limit
	// RoomBytes is reserved below BytesMax for files that continue to grow while applying is paused.
	RoomBytes int64             `json:"room_bytes"`
	Counts    map[string]uint64 `json:"counts"` // events: applied, quarantined, archived, deleted, local
	// Since is the time of the first sample, at most GrowthDays ago. It is absent until the samples span an hour.
	Since        *time.Time       `json:"since,omitempty"`
	GrowthPerDay map[string]int64 `json:"growth_bytes_per_day,omitempty"` // by folder, and in total
	DaysLeft     *float64         `json:"days_left,omitempty"`            // absent while nothing grows
	Limit        string           `json:"limit,omitempty"`                // the limit that is reached first
}

// GrowthDays is the period over which growth is measured, long enough to average over the days of the week.
const GrowthDays = 14

const (
	capacityKept  = 400 * 24 * time.Hour // how long the store keeps samples
	growthSpanMin = time.Hour            // shortest span from which a daily growth is computed
)

// CapacityOptions configure [MeasureCapacity].
type CapacityOptions struct {
	Store               *store.Store
	DataDir, ArchiveDir string // ArchiveDir is empty if the archive is elsewhere
	BytesMax, FreeMin   int64
	SpoolBytesMax       int64            // see [Options]
	Now                 func() time.Time // default clock.Now
}

// MeasureCapacity measures the data directory, stores the sample, and compares it with earlier ones.
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
		At: u.at.UTC(), Bytes: maps.Clone(u.folders), BytesTotal: u.total, BytesMax: o.BytesMax, FreeBytes: u.free, FreeMin: o.FreeMin, RoomBytes: u.room,
		Counts: map[string]uint64{
			"applied": totals.Applied, "quarantined": totals.Quarantined, "archived": totals.Archived, "deleted": totals.Deleted,
			"local": totals.Applied - totals.Deleted,
		},
	}
	if err := o.Store.AddCapacity(store.CapacitySample{At: c.At, Bytes: c.Bytes, Counts: c.Counts}); err != nil {
		return nil, fmt.Errorf("store the capacity sample: %w", err)
	}
	return c, c.grow(ctx, o.Store)
}

// PruneCapacity removes samples that are too old for any report.
func PruneCapacity(s *store.Store, now time.Time) (int, error) {
	return s.PruneCapacity(now.Add(-capacityKept))
}

// grow fits a line to each folder's samples of the last GrowthDays days: those in the store and those in further.
func (c *Capacity) grow(ctx context.Context, s Store, further ...store.CapacitySample) error {
	fits := map[string]*fit{"total": {}}
	var first time.Time
	add := func(sample store.CapacitySample) error {
		if sample.At.After(c.At) {
			return nil // the clock was set back
		}
		if first.IsZero() || sample.At.Before(first) {
			first = sample.At
		}
		days := sample.At.Sub(c.At).Hours() / 24
		total := int64(0)
		for folder, n := range sample.Bytes {
			if fits[folder] == nil {
				fits[folder] = &fit{}
			}
			fits[folder].add(days, float64(n))
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
	for folder, f := range fits {
		c.GrowthPerDay[folder] = int64(f.slope())
	}
	c.setDaysLeft()
	return nil
}

// setDaysLeft sets the time until the first of the limits is reached at the current rate of growth.
func (c *Capacity) setDaysLeft() {
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

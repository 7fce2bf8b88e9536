package collector

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
)

// Storage describes how much disk space the data directory takes up, and how long the space will last. It is the body of GET
// /api/v1/storage.
type Storage struct {
	MeasuredAt time.Time `json:"measured_at"`
	// Bytes allocated on disk by folder: spool, store, quarantine, archive, other.
	Bytes      map[string]int64  `json:"bytes"`
	BytesTotal int64             `json:"bytes_total"`
	BytesMax   int64             `json:"bytes_max"`  // data.bytes_max; 0: no limit
	FreeBytes  int64             `json:"free_bytes"` // free bytes of the filesystem
	FreeMin    int64             `json:"free_min"`   // data.free_min; 0: no limit
	RoomBytes  int64             `json:"room_bytes"` // reserved below bytes_max for files that grow while applying is paused
	Counts     map[string]uint64 `json:"counts"`     // number of events: spooled, applied, archived, deleted, …
	State      string            `json:"state"`      // "running", or why applying is paused
	// The growth over the last GrowthDays days, as in the capacity report. It is 0 until the measurements span an hour. DaysLeft
	// is absent while nothing grows.
	GrowthBytesPerDay float64  `json:"growth_bytes_per_day"`
	DaysLeft          *float64 `json:"days_left,omitempty"`
	Limit             string   `json:"limit,omitempty"` // the limit that is reached first
	// Refill is present if this process is refilling, or has refilled, a store that was lost.
	Refill *RefillStatus `json:"refill,omitempty"`
}

// RefillStatus describes how much of a lost store has been restored from the archive. The current store was created empty, because the
// previous one was damaged.
type RefillStatus struct {
	Due         bool      `json:"due"`               // whether older hours are still being restored
	Waiting     string    `json:"waiting,omitempty"` // why the refill cannot currently continue
	Objects     int       `json:"objects"`           // archive objects that must be read
	ObjectsDone int       `json:"objects_done"`      // archive objects that have been read
	Responses   uint64    `json:"responses"`         // responses that this process has restored
	Hour        time.Time `json:"hour,omitzero"`     // hour of the last object read; the newest hours come first
	Problems    int       `json:"problems"`          // objects that cannot be used; the log names them
}

// Storage measures the data directory and counts the events in it.
func (c *Collector) Storage(ctx context.Context) (Storage, error) {
	totals, err := c.o.Store.Totals()
	if err != nil {
		return Storage{}, fmt.Errorf("read the store's figures: %w", err)
	}
	s := Storage{
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
	maps.Copy(s.Bytes, u.folders)
	s.BytesTotal, s.FreeBytes, s.RoomBytes = u.total, u.free, u.room
	// The growth is computed in the same way as for the capacity report: from its samples, this process's first measurement, and this
	// one.
	capacity := Capacity{At: u.at, BytesTotal: u.total, BytesMax: s.BytesMax, FreeBytes: u.free, FreeMin: s.FreeMin, RoomBytes: u.room}
	first := c.guard.first()
	err = capacity.grow(ctx, c.o.Store, store.CapacitySample{At: first.at, Bytes: first.folders}, store.CapacitySample{At: u.at, Bytes: u.folders})
	if err != nil {
		return s, fmt.Errorf("read earlier measurements: %w", err)
	}
	s.DaysLeft, s.Limit, s.GrowthBytesPerDay = capacity.DaysLeft, capacity.Limit, float64(capacity.GrowthPerDay["total"])
	return s, nil
}

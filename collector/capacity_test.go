package collector

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
)

// TestCapacityReportsGrowth writes a mebibyte a day into one folder of a data directory.
func TestCapacityReportsGrowth(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Date(2026, 3, 17, 4, 0, 0, 0, time.UTC)
	o := CapacityOptions{Store: s, DataDir: dir, BytesMax: 1 << 30, Now: func() time.Time { return now }}
	if err := os.Mkdir(filepath.Join(dir, "archive"), 0o700); err != nil {
		t.Fatal(err)
	}
	var c *Capacity
	for day := range 10 {
		if err := os.WriteFile(filepath.Join(dir, "archive", string(rune('a'+day))), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err = MeasureCapacity(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if day == 0 && (c.DaysLeft != nil || c.GrowthPerDay != nil) {
			t.Errorf("growth from one sample: %+v", c)
		}
		now = now.AddDate(0, 0, 1)
	}
	if got := c.GrowthPerDay["archive"]; math.Abs(float64(got)-1<<20) > 1<<12 {
		t.Errorf("the archive grows by %d bytes a day, want %d", got, 1<<20)
	}
	room := float64(min(c.BytesMax-c.RoomBytes-c.BytesTotal, c.FreeBytes))
	if c.DaysLeft == nil || math.Abs(*c.DaysLeft-room/float64(c.GrowthPerDay["total"])) > 1e-6 || c.Limit == "" {
		t.Errorf("days left: %+v", c)
	}
	if n, err := PruneCapacity(s, now.Add(capacityKept)); err != nil || n != 10 {
		t.Errorf("pruned %d samples, %v", n, err)
	}
}

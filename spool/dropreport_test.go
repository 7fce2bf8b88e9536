package spool

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestDropsOfADeadProcessAreReported: if a process could not report its drops before it died, the next process reports them, once for each
// reason.
func TestDropsOfADeadProcessAreReported(t *testing.T) {
	o := testOptions(t.TempDir())
	o.QueueBytesMax = QueueBytesMin
	s := openSet(t, o)
	fillUp(t, s)
	for i := range 500 {
		if _, r := s.TryAppend(sample(i)); r != RefusedFull {
			t.Fatalf("append %d to a full spool: %v", i, r)
		}
	}
	want := maps.Clone(checkLedgers(t, s)[0].Dropped)
	epoch := s.Epoch()
	for range 3 {
		abandon(t, s)
		s = openSet(t, o)
	}
	if got := checkLedgers(t, s)[0].Dropped; !maps.Equal(got, want) {
		t.Fatalf("dropped %v, before the kills %v", got, want)
	}
	_, drops := split(drain(t, s))
	reported := map[string]uint64{}
	for _, d := range drops {
		reported[string(d.ErrorType)] += d.RequestBytes
	}
	if len(drops) != len(want) || !maps.Equal(reported, want) {
		t.Errorf("%d records report %v, dropped were %v", len(drops), reported, want)
	}
	if err := s.Retire(context.Background(), epoch); err != nil {
		t.Error(err)
	}
}

// TestCorrectedDropsAreReported: if the consumer has events that the spool counted as lost, the corrected figure is reported in the stream
// before the epoch is retired.
func TestCorrectedDropsAreReported(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	appendN(t, s, 0, 100)
	mustFlush(t, s)
	epoch, dir := s.Epoch(), s.current.dir
	batches, err := s.Peek(context.Background(), PeekOptions{})
	if err != nil {
		t.Fatal(err)
	}
	last := collect(t, batches, map[id]event.Event{}) // applied but not acknowledged
	abandon(t, s)
	for _, pattern := range []string{"queue*.db", "journal-*.seg"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, name := range names {
			if err := os.Truncate(name, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	s = openSet(t, o)
	if _, drops := split(drain(t, s)); len(drops) != 1 || drops[0].RequestBytes != 100 || string(drops[0].ErrorType) != "damaged" {
		t.Errorf("drop records of what was lost: %+v", drops)
	}
	if missing, err := s.Reconcile(context.Background(), epoch, last, 100); err != nil || missing != 0 {
		t.Fatal(missing, err)
	}
	if err := s.Retire(context.Background(), epoch); !errors.Is(err, ErrNotDrained) {
		t.Errorf("retired with a figure that does not hold: %v", err)
	}
	if _, drops := split(drain(t, s)); len(drops) != 1 || drops[0].RequestBytes != 0 || string(drops[0].ErrorType) != "damaged" {
		t.Errorf("drop records of what was taken back: %+v", drops)
	}
	if err := s.Retire(context.Background(), epoch); err != nil {
		t.Error(err)
	}
}

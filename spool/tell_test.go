package spool

import (
	"context"
	"errors"
	"maps"
	"testing"
)

// TestDropsOfADeadProcessAreTold: what was dropped while there was no room to say so, and no time before the process died, is told
// by the next one, for each reason with the figure of the accounting; once, however often it is killed; and the epoch is not retired
// before that is delivered.
func TestDropsOfADeadProcessAreTold(t *testing.T) {
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
	if err := s.Retire(context.Background(), epoch); !errors.Is(err, ErrNotDrained) {
		t.Errorf("retired with its drops untold: %v", err)
	}
	_, drops := split(drain(t, s))
	told := map[string]uint64{}
	for _, d := range drops {
		told[string(d.ErrorType)] += d.RequestBytes
	}
	if len(drops) != len(want) || !maps.Equal(told, want) {
		t.Errorf("%d records tell %v, dropped were %v", len(drops), told, want)
	}
	if err := s.Retire(context.Background(), epoch); err != nil {
		t.Error(err)
	}
}

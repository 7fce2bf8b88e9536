package spool

import (
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

func TestWaitingCountsWhatIsNotApplied(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		s.Record(&event.Event{TimeMicros: int64(n) + 1, Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Path: []byte("/")})
		if n%10 == 9 {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// An epoch that is in use is none of ours to count.
	if n, err := Waiting(t.Context(), dir, nil); n != 0 || err != nil {
		t.Errorf("while it is open: %d, %v", n, err)
	}
	epoch := s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for applied, want := range map[uint64]uint64{0: 100, 40: 60, 100: 0} {
		if n, err := Waiting(t.Context(), dir, map[uuid.UUID]uint64{epoch: applied}); n != want || err != nil {
			t.Errorf("applied up to %d: %d, %v; want %d", applied, n, err, want)
		}
	}
}

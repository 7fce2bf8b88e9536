package store

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// scanIDs pages through a scan and returns the sequence numbers in order.
func scanIDs(t *testing.T, s *Store, q EventScan, page int) (seqs []uint64) {
	t.Helper()
	for range 10_000 {
		n := 0
		last, complete, err := s.ScanEvents(t.Context(), q, func(e *StoredEvent) bool {
			seqs = append(seqs, e.Seq)
			n++
			return n < page
		})
		if err != nil {
			t.Fatal(err)
		}
		if complete {
			return seqs
		}
		q.After = &last
	}
	t.Fatal("the scan does not end")
	return nil
}

func TestScanEventsInBothDirections(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(3)
	var want []uint64
	for range 3 {
		b := g.batch(1500) // more than one block
		apply(t, s, b)
		for i := range b.Items {
			want = append(want, b.Items[i].Seq)
		}
		g.now += 3600 * 1e6 // each batch is in a later hour, so that positions ascend with sequence numbers
	}
	all := EventScan{FromMicros: 0, ToMicros: 1 << 60}
	for _, page := range []int{1 << 30, 1000, 997, 333} {
		if got := scanIDs(t, s, all, page); !slices.Equal(got, want) {
			t.Errorf("ascending by %d: %d events, want %d", page, len(got), len(want))
		}
		q := all
		q.Descending = true
		got := scanIDs(t, s, q, page)
		slices.Reverse(got)
		if !slices.Equal(got, want) {
			t.Errorf("descending by %d: %d events, want %d", page, len(got), len(want))
		}
	}
	few := all
	few.EventsMax = 1
	few.Keep = func(e *StoredEvent) bool { return e.Seq%500 == 7 }
	if got := scanIDs(t, s, few, 10); len(got) != 9 || got[0] != 7 || got[8] != 4007 {
		t.Errorf("selected %v", got)
	}
}

func TestScanEventsInRange(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	b := newTraffic(4).batch(900)
	apply(t, s, b)
	from, to := b.Items[100].Event.TimeMicros, b.Items[200].Event.TimeMicros
	got := scanIDs(t, s, EventScan{FromMicros: from, ToMicros: to, Descending: true}, 7)
	if len(got) != 100 || got[0] != b.Items[199].Seq || got[99] != b.Items[100].Seq {
		t.Errorf("%d events from %d to %d", len(got), got[0], got[len(got)-1])
	}
}

func TestFindEvent(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	g := newTraffic(5)
	first, second := g.batch(1200), g.batch(1200)
	apply(t, s, first)
	apply(t, s, second)
	for _, it := range []Item{first.Items[0], first.Items[1100], second.Items[1199]} {
		id := event.ID(it.Event.TimeMicros, testEpoch, it.Seq)
		e, err := s.FindEvent(t.Context(), id)
		if err != nil || e.Seq != it.Seq || string(e.Event.Path) != string(it.Event.Path) || e.Label != it.Label {
			t.Errorf("event %d: %+v, %v", it.Seq, e, err)
		}
	}
	for _, id := range []uuid.UUID{{}, uuid.New(), event.ID(first.Items[0].Event.TimeMicros, testEpoch, 1<<40)} {
		if _, err := s.FindEvent(t.Context(), id); !errors.Is(err, ErrNoEvent) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

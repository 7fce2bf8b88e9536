package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// carryOver copies a store, of which some ranges of keys are lost, to a new one as a salvage does, and opens that.
func carryOver(t *testing.T, from Options, lost lostKeys) *Store {
	t.Helper()
	o := salvageOptions(t.TempDir())
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	if _, err := copyStore(t.Context(), &o, from.Dir, lost); err != nil {
		t.Fatal(err)
	}
	if err := checkSalvaged(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return openStore(t, o)
}

var lostMarks = keyRange{from: []byte{prefixWatermark}, to: []byte{prefixWatermark + 1}}

// TestUnknownWatermark: of an epoch whose watermark is lost, nothing is applied again that is in the new store or was archived,
// be it a block without any response, or events whose rows are gone.
func TestUnknownWatermark(t *testing.T) {
	for name, test := range map[string]struct {
		lost    lostKeys
		archive bool
	}{
		"drop record": {lost: lostKeys{lostMarks}},
		"archived":    {lost: lostKeys{lostMarks}, archive: true},
		"archived and not counted": {
			lost: lostKeys{lostMarks, {from: []byte{prefixRow}, to: []byte{prefixRow + 1}}}, archive: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := salvageOptions(filepath.Join(t.TempDir(), "made"))
			s := openStore(t, o)
			g := newTraffic(1)
			g.epoch = uuid.UUID{1}
			responses := g.batch(50)
			drop := g.batch(1)
			drop.Items[0].Event = event.Event{Kind: event.KindDrop, TimeMicros: drop.Items[0].Event.TimeMicros, ErrorType: []byte("full"), RequestBytes: 7}
			apply(t, s, responses)
			apply(t, s, drop)
			if test.archive {
				archiveAndDelete(t, s)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = carryOver(t, o, test.lost)
			before, err := s.Pending(t.Context(), time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			apply(t, s, responses)
			apply(t, s, drop)
			after, err := s.Pending(t.Context(), time.Now().Add(time.Hour))
			if err != nil || len(after) != len(before) || test.archive && len(after) > 0 {
				t.Errorf("%d blocks waited to be archived, now %d, %v", len(before), len(after), err)
			}
			checkPromises(t, s)
		})
	}
}

// archiveAndDelete takes all that waits to the end of its life.
func archiveAndDelete(t *testing.T, s *Store) {
	t.Helper()
	checkpoint(t, s)
	p := pendingPlan(t, s, "v1/x")
	if err := s.AddPlan(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkVerified(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlocks(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// TestNothingLostNothingChanged: an hour whose rows count events that were removed, others that are held, and, unless there
// was a checkpoint, do not count the last ones yet, is carried over as it is.
func TestNothingLostNothingChanged(t *testing.T) {
	for _, checkpointed := range []bool{false, true} {
		dir := t.TempDir()
		o := salvageOptions(filepath.Join(dir, "made"))
		s := openStore(t, o)
		g := newTraffic(1)
		apply(t, s, g.batch(300))
		archiveAndDelete(t, s)
		apply(t, s, g.batch(300))
		if checkpointed {
			checkpoint(t, s)
		}
		rows, totals := allRows(t, s), mustTotals(t, s)
		copied := salvageOptions(filepath.Join(dir, "copied"))
		copyTree(t, filepath.Dir(o.Dir), filepath.Dir(copied.Dir)) // as a kill leaves it
		s = carryOver(t, copied, nil)
		if now := mustTotals(t, s); now != totals {
			t.Errorf("checkpointed %v: totals %+v were %+v", checkpointed, now, totals)
		}
		if diff := cmp.Diff(rows, allRows(t, s)); diff != "" {
			t.Errorf("checkpointed %v: %s", checkpointed, diff)
		}
	}
}

package spool

import (
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestRecoverDamagedCommittedSegment: when a process dies, the segment of the last commit is still in the journal. As long as the queue has
// the batch, damage to a record in that segment causes no event to be lost or delivered twice.
func TestRecoverDamagedCommittedSegment(t *testing.T) {
	for _, struck := range []int{0, 17, 39} {
		o := testOptions(t.TempDir())
		s := openSet(t, o)
		want := appendN(t, s, 0, 40)
		mustFlush(t, s)
		abandon(t, s)
		flipRecord(t, s.current.dir, sample(struck))
		wantSound(t, o)
		next := openSet(t, o)
		if l := checkLedgers(t, next)[0]; l.Recorded != 40 || l.Spooled != 40 || len(l.Dropped) > 0 {
			t.Errorf("record %d: ledger %+v", struck, l)
		}
		wantEvents(t, drain(t, next), want)
	}
}

// TestRecoverDamagedBoth: if both copies are damaged, the queue's copy is replaced by the journal's, except for the record that is damaged in the
// journal. Another start finds the same events.
func TestRecoverDamagedBoth(t *testing.T) {
	for _, struck := range []int{0, 17, 39} {
		o := testOptions(t.TempDir())
		s := openSet(t, o)
		want := appendN(t, s, 0, 40)
		mustFlush(t, s)
		e := s.current
		s.mu.Lock()
		at, m := e.index[0], e.stateLocked(0, nil)
		s.mu.Unlock()
		if err := inStep(s, func() error {
			return e.writer().Commit(queue.Change{Batch: &at.Batch, Value: []byte("damaged"), State: m})
		}); err != nil {
			t.Fatal(err)
		}
		abandon(t, s)
		flipRecord(t, e.dir, sample(struck))
		for key, n := range want {
			if n == uint64(struck) {
				delete(want, key)
			}
		}
		if problems := strings.Join(verifyDir(t, o, nil), "\n"); !strings.Contains(problems, ": 1 recorded responses were not acknowledged and are in neither") {
			t.Errorf("record %d: verify: %s", struck, problems)
		}
		for range 2 {
			next := openSet(t, o)
			if l := checkLedgers(t, next)[0]; l.Recorded != 39 || l.Spooled != 39 || l.Dropped[lostDamaged.String()] != 1 {
				t.Errorf("record %d: ledger %+v", struck, l)
			}
			if err := next.Close(); err != nil {
				t.Fatal(err)
			}
		}
		next := openSet(t, o)
		responses, _ := split(drain(t, next))
		wantEvents(t, responses, want)
	}
}

package spool

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestReconcileBeforeAKill: the consumer counts as lost the responses that Reconcile reports as missing. If the spool's process dies right
// afterwards, the next one neither delivers them nor counts them as held.
func TestReconcileBeforeAKill(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	appendN(t, s, 0, 40)
	mustFlush(t, s)
	batches, err := s.Peek(context.Background(), PeekOptions{})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	last := collect(t, batches, make(map[id]event.Event))
	if err := s.Ack(context.Background(), batches[0].Epoch, last); err != nil {
		t.Fatal(err)
	}
	// The consumer's store is damaged and has only 25 of them.
	missing, err := s.Reconcile(context.Background(), batches[0].Epoch, last, 25)
	if err != nil || missing != 15 {
		t.Fatalf("missing %d, %v", missing, err)
	}
	dead := o
	dead.Dir = filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(dead.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	next := openSet(t, dead)
	if got := drain(t, next); len(got) != 0 {
		t.Errorf("%d responses are delivered again", len(got))
	}
	if l := checkLedgers(t, next)[0]; l.Recorded != 40 || l.Spooled != 0 {
		t.Errorf("ledger %+v", l)
	}
}

// TestReconcileWithoutFigures: if an epoch's queue and ledger are both lost, the spool knows nothing about acknowledged responses. Those that
// the consumer has are counted, so that the figures add up and the folder can be removed.
func TestReconcileWithoutFigures(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	held := uint64(0)
	last := uint64(0)
	for i := range 3 {
		appendN(t, s, 40*i, 40)
		mustFlush(t, s)
		for key := range drain(t, s) {
			last = max(last, key.seq)
			held++
		}
	}
	appendN(t, s, 120, 7) // only in the journal
	epoch, dir := s.Epoch(), s.current.dir
	abandon(t, s)
	for _, name := range []string{"queue.db", "ledger"} {
		if err := os.Truncate(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	next := openSet(t, o)
	if missing, err := next.Reconcile(context.Background(), epoch, last, held); err != nil || missing != 0 {
		t.Fatalf("missing %d, %v", missing, err)
	}
	if l := checkLedgers(t, next)[0]; l.Epoch != epoch || l.Recorded != held+7 || l.Responses != held+7 || l.Spooled != 7 {
		t.Errorf("ledger %+v, the consumer has %d", l, held)
	}
	if got := drain(t, next); len(got) != 7 {
		t.Errorf("%d responses are delivered, want 7", len(got))
	}
	checks, err := next.Verify(context.Background())
	if err != nil || checks[1].Found != 0 {
		t.Errorf("%v, %+v", err, checks[1])
	}
	if err := next.Retire(context.Background(), epoch); err != nil {
		t.Errorf("retire: %v", err)
	}
}

// TestReconciledCountsStayCorrected: counts that Reconcile has corrected for a dead process stay correct even if later processes die before the
// epoch is retired, although the dead process's ledger page still has the old counts.
func TestReconciledCountsStayCorrected(t *testing.T) {
	for _, reason := range []Refusal{lostDamaged, lostAge} {
		t.Run(reason.String(), func(t *testing.T) {
			o, pass := ageOptions(t)
			s := openSet(t, o)
			appendN(t, s, 0, 20)
			mustFlush(t, s)
			appendN(t, s, 20, 10)
			mustFlush(t, s)
			if reason == lostAge {
				pass(2 * time.Hour)
				expireNow(t, s)
			} else {
				damageBatch(t, s, 0)
				damageBatch(t, s, 1)
				wantHere(t, s, 0, 30)
			}
			appendN(t, s, 30, 5)
			mustFlush(t, s)
			epoch := s.Epoch()
			abandon(t, s)
			s = openSet(t, o)
			// The consumer had received all of it before it was counted as lost.
			if missing, err := s.Reconcile(context.Background(), epoch, 30, 30); err != nil || missing != 0 {
				t.Fatalf("missing %d, %v", missing, err)
			}
			for life := range 3 {
				l := checkLedgers(t, s)[0]
				if l.Epoch != epoch || l.Responses != 35 || l.Recorded != 35 || len(l.Dropped) != 0 {
					t.Errorf("life %d: %+v", life, l)
				}
				if err := inStep(s, s.committer.commitAcks); err != nil {
					t.Fatal(err)
				}
				abandon(t, s)
				s = openSet(t, o)
				if missing, err := s.Reconcile(context.Background(), epoch, 30, 30); err != nil || missing != 0 {
					t.Fatalf("missing %d, %v", missing, err)
				}
			}
		})
	}
}

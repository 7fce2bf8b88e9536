package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestVerifyBatchesInMemory: batches that did not fit on a full disk during recovery are only in the journal, although the queue's figures
// count them. After the process has ended, in whatever way, verification reports no problem.
func TestVerifyBatchesInMemory(t *testing.T) {
	dir := smallDisk(t, "1m")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 400<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOptions(dir)
	s := openSet(t, o)
	fillUp(t, s)
	recorded := checkLedgers(t, s)[0].Recorded
	abandon(t, s)
	wantSound(t, o)
	s = openSet(t, o)
	e := s.epochs[0]
	memory := uint64(0)
	for i := range e.index {
		if e.index[i].file == nil {
			memory += uint64(e.index[i].Responses)
		}
	}
	if memory == 0 {
		t.Fatal("nothing is held in memory: the disk was not full")
	}
	if err := os.Truncate(ballast, 0); err != nil {
		t.Fatal(err)
	}
	if err := inStep(s, func() error { return s.committer.commitAcksOf(e) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantSound(t, o)
	next := openSet(t, o)
	if l := checkLedgers(t, next)[0]; l.Recorded != recorded || l.Dropped[lostDamaged.String()] != 0 {
		t.Errorf("ledger %+v, want %d recorded", l, recorded)
	}
}

// TestVerifyWithoutStore: if the caller knows that there is no store, acknowledged events are a problem.
func TestVerifyWithoutStore(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	appendN(t, s, 0, 40)
	mustFlush(t, s)
	drain(t, s)
	epoch := s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantSound(t, o) // without watermarks, because the store could not be read, which is reported elsewhere
	problems := strings.Join(verifyDir(t, o, map[uuid.UUID]uint64{}), "\n")
	if want := "epoch " + epoch.String() + ": events up to 40 were acknowledged, but the store has them only up to 0"; problems != want {
		t.Errorf("%q, want %q", problems, want)
	}
}

// TestVerifyWithoutLedger: responses that are only in the journal do not make up for an equal number that the queue has lost.
func TestVerifyWithoutLedger(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	for i := range 3 {
		appendN(t, s, 40*i, 40)
		mustFlush(t, s)
	}
	appendN(t, s, 120, 50)
	e := s.current
	s.mu.Lock()
	gone, m := e.index[0].Batch, e.stateLocked(0, nil)
	s.mu.Unlock()
	if err := inStep(s, func() error { return e.writer().Commit(queue.Change{Remove: []queue.Batch{gone}, State: m}) }); err != nil {
		t.Fatal(err)
	}
	abandon(t, s)
	remove(t, e.dir, "ledger")
	problems := strings.Join(verifyDir(t, o, nil), "\n")
	if !strings.Contains(problems, "the ledger is missing") || !strings.Contains(problems, "40 recorded responses were not acknowledged and are in neither") {
		t.Errorf("verify: %s", problems)
	}
	if l := checkLedgers(t, openSet(t, o))[0]; l.Recorded != 130 || l.Dropped[lostDamaged.String()] != 40 {
		t.Errorf("ledger %+v", l)
	}
}

// TestVerifyDuringExpiry: batches whose expiry is not durable yet do not make verification report wrong figures.
func TestVerifyDuringExpiry(t *testing.T) {
	s := openSet(t, testOptions(t.TempDir()))
	for i := range 3 {
		appendN(t, s, 100*i, 100)
		mustFlush(t, s)
	}
	e := s.epochs[0]
	s.mu.Lock()
	e.expiring, e.index = e.index[:1:1], e.index[1:] // the state of both while expireSome's transaction is running
	s.mu.Unlock()
	checks, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if c.Found > 0 {
			t.Errorf("%s: %v", c.Name, c.Problems)
		}
	}
	s.mu.Lock()
	e.index, e.expiring = append(e.expiring, e.index...), nil
	s.mu.Unlock()
}

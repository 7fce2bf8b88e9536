package spool

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// lostTen returns a spool whose queue counts ten responses as damaged, together with the ledger page as it was before that. A power cut may
// leave the page in this older state, whatever the queue contains.
func lostTen(t *testing.T, o Options) (s *Set, page []byte) {
	t.Helper()
	s = openSet(t, o)
	for i := range 3 {
		appendN(t, s, 10*i, 10)
		mustFlush(t, s)
	}
	damageBatch(t, s, 0)
	wantHere(t, s, 20, 10)
	if err := inStep(s, s.committer.commitAcks); err != nil {
		t.Fatal(err)
	}
	appendN(t, s, 30, 1)
	mustFlush(t, s) // frees the earlier segments for reuse
	page, err := os.ReadFile(filepath.Join(s.current.dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	return s, page
}

func setPage(t *testing.T, s *Set, page []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.current.dir, "ledger"), page, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutAndDeathInRecovery: after a power cut, the page is older than the queue. Responses that were counted as damaged remain so,
// whichever commit the next process dies at.
func TestPowerCutAndDeathInRecovery(t *testing.T) {
	o := testOptions(t.TempDir())
	s, page := lostTen(t, o)
	appended := 31
	for range 100 {
		appendN(t, s, appended, 10)
		mustFlush(t, s)
		appended += 10
	}
	for ; s.journal.Load().Pending().Free > 0; appended += 50 {
		appendN(t, s, appended, 50)
	}
	abandon(t, s)
	setPage(t, s, page)
	for looks := range 7 {
		c := testOptions(t.TempDir())
		if err := os.CopyFS(c.Dir, os.DirFS(o.Dir)); err != nil {
			t.Fatal(err)
		}
		if looks > 0 { // the disk fails before a segment is committed, as if the process had died at that moment
			disk := &faultyDisk{}
			cut, now := c, 0
			cut.OpenFile = disk.open
			cut.Now = func() time.Time {
				if now++; now == looks+1 {
					disk.breakQueue(t)
				}
				return time.Now()
			}
			abandon(t, openSet(t, cut))
		}
		next := openSet(t, c)
		if l := checkLedgers(t, next)[0]; l.Recorded != uint64(appended)-10 || l.Dropped["damaged"] != 10 {
			t.Errorf("%d looks at the clock: %+v, want %d recorded, 10 damaged", looks, l, appended-10)
		}
		abandon(t, next)
	}
}

// TestPowerCutAndReplacedBatch: the same if recovery commits only a batch that the queue has already counted.
func TestPowerCutAndReplacedBatch(t *testing.T) {
	o := testOptions(t.TempDir())
	s, page := lostTen(t, o)
	for i := range 8 {
		appendN(t, s, 31+10*i, 10)
		mustFlush(t, s)
	}
	damageBatch(t, s, len(s.current.index)-1) // the journal still has this batch
	abandon(t, s)
	setPage(t, s, page)
	for life := range 3 {
		s = openSet(t, o)
		if l := checkLedgers(t, s)[0]; l.Recorded != 101 || l.Dropped["damaged"] != 10 {
			t.Errorf("life %d: %+v, want 101 recorded, 10 damaged", life, l)
		}
		abandon(t, s)
	}
}

// TestCorrectedCountIsReported: if recovery corrects a count whose drop record was only in the journal, the corrected figure is reported.
func TestCorrectedCountIsReported(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	for i := range 3 {
		appendN(t, s, 10*i, 10)
		mustFlush(t, s)
	}
	damageBatch(t, s, 2) // the journal still has this batch
	wantHere(t, s, 20, 10)
	_ = inStep(s, func() error { s.committer.reportDrops(s.journal.Load()); return nil }) // the first step of a commit
	abandon(t, s)
	s = openSet(t, o)
	if l := checkLedgers(t, s)[0]; l.Recorded != 30 || l.Dropped["damaged"] != 0 {
		t.Fatalf("%+v", l)
	}
	_, drops := split(drain(t, s))
	if len(drops) != 2 || drops[0].RequestBytes+drops[1].RequestBytes != 10 {
		t.Fatalf("reported %+v", drops)
	}
	if first, last := drops[0], drops[1]; (first.TimeMicros < last.TimeMicros) != (last.RequestBytes == 0) {
		t.Errorf("the last record is %+v", drops)
	}
}

package spool

import (
	"context"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// damageBatch flips a bit in the i-th batch in the newest queue file of the current epoch, and removes the copies in memory.
func damageBatch(t *testing.T, s *Set, i int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.current.index {
		s.cachedBytes -= len(s.current.index[n].cached)
		s.current.index[n].cached = nil
	}
	bad := s.current.index[i]
	value, err := bad.file.Read(&bad.Batch)
	if err != nil {
		t.Fatal(err)
	}
	value[len(value)/2] ^= 1
	if err := bad.file.Commit(queue.Change{Batch: &bad.Batch, Value: value, State: s.current.stateLocked(0, nil)}); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedBatchCountsOnce: a damaged batch is counted once, however often processes die, even if the next process finds it again in the
// queue, or undamaged in the journal.
func TestDamagedBatchCountsOnce(t *testing.T) {
	cases := []struct {
		name    string
		commit  bool // the figures without the batch were committed before the kill
		roll    bool // the batch is in a read-only file, together with one that has not been delivered yet
		journal bool // the journal still has the batch
	}{
		{name: "killed before the commit"},
		{name: "committed", commit: true},
		{name: "in an old file, killed before the commit", roll: true},
		{name: "in an old file", commit: true, roll: true},
		{name: "in the journal, killed before the commit", journal: true},
		{name: "in the journal", commit: true, journal: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			s := openSet(t, o)
			for i := range 3 {
				appendN(t, s, 10*i, 10)
				mustFlush(t, s)
			}
			bad := 0
			if c.journal {
				bad = 2
			}
			damageBatch(t, s, bad)
			if c.roll {
				if err := inStep(s, func() error { return s.committer.replace(s.current, errScrubbing) }); err != nil {
					t.Fatal(err)
				}
			}
			wantHere(t, s, 20, 10)
			if c.commit {
				if err := inStep(s, s.committer.commitAcks); err != nil {
					t.Fatal(err)
				}
			}
			abandon(t, s)
			lost := uint64(0)
			if !c.journal {
				remove(t, s.current.dir, "journal-*.seg")
				lost = 10
			}
			for life := range 4 {
				s = openSet(t, o)
				if l := checkLedgers(t, s)[0]; l.Responses != 30 {
					t.Errorf("life %d, before anything is read: %+v", life, l)
				}
				wantHere(t, s, 30-lost, lost)
				if life == 1 {
					if err := inStep(s, s.committer.commitAcks); err != nil {
						t.Fatal(err)
					}
				}
				abandon(t, s)
			}
			if problems := strings.Join(verifyDir(t, o, nil), "\n"); strings.Contains(problems, "neither") {
				t.Errorf("verify: %s", problems)
			}
		})
	}
}

// wantHere peeks without acknowledging, and checks the number of responses and the ledger of the first epoch.
func wantHere(t *testing.T, s *Set, here, damaged uint64) {
	t.Helper()
	batches, err := s.Peek(context.Background(), PeekOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[id]event.Event)
	collect(t, batches, all)
	if got, _ := split(all); uint64(len(got)) != here {
		t.Errorf("%d responses came, want %d", len(got), here)
	}
	if l := checkLedgers(t, s)[0]; l.Recorded != here || l.Dropped["damaged"] != damaged || l.Responses != here+damaged {
		t.Errorf("want %d here, %d damaged: %+v", here, damaged, l)
	}
}

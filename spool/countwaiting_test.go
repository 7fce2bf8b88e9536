package spool

import (
	"errors"
	"os"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

func TestWaitingCountsEventsThatAreNotApplied(t *testing.T) {
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
	// An epoch whose process is alive is not counted.
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

// TestWaitingCountsTheJournal: events in a dead process's journal that could not be committed to the queue are waiting too, although the
// queue's figures include them. Each counts once, even if some of them are in the queue.
func TestWaitingCountsTheJournal(t *testing.T) {
	dir := smallDisk(t, "1m")
	o := testOptions(dir)
	s := openSet(t, o)
	fillUp(t, s)
	epoch := s.Epoch()
	abandon(t, s)
	wantWaiting(t, &o, epoch)
	for life := range 2 {
		s = openSet(t, o)
		inMemory := 0
		for i := range s.epochs[0].index {
			if s.epochs[0].index[i].file == nil {
				inMemory++
			}
		}
		if inMemory == 0 {
			if life > 0 { // bbolt chooses pages at random, so the pages of acknowledged batches may have room for all events
				break
			}
			t.Fatal("all of the journal found room in the queue")
		}
		// The figures usually fit into the pages of acknowledged batches. If not, the acknowledgments are not durable, and the events count.
		s.mu.Lock()
		through := s.epochs[0].index[1].Last
		s.mu.Unlock()
		if err := s.Ack(t.Context(), epoch, through); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := inStep(s, s.committer.commitAcks); err != nil && !errors.Is(err, queue.ErrFull) {
				t.Fatal(err)
			}
		}
		abandon(t, s)
		wantWaiting(t, &o, epoch)
	}
}

// TestWaitingCountsADamagedBatch: a batch is damaged in the queue, but the next start will find it undamaged in the journal.
func TestWaitingCountsADamagedBatch(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	for i := range 3 {
		appendN(t, s, 10*i, 10)
		mustFlush(t, s)
	}
	damageBatch(t, s, 2)
	wantHere(t, s, 20, 10)
	if err := inStep(s, s.committer.commitAcks); err != nil {
		t.Fatal(err)
	}
	abandon(t, s)
	if n := wantWaiting(t, &o, s.Epoch()); n != 30 {
		t.Errorf("%d wait, want 30", n)
	}
	n, err := Waiting(t.Context(), o.Dir, map[uuid.UUID]uint64{s.Epoch(): 24})
	if err != nil || n != 6 {
		t.Errorf("applied up to 24: %d wait, %v, want 6", n, err)
	}
}

// wantWaiting compares the result of Waiting with the number of responses that a start finds in a copy of the folder.
func wantWaiting(t *testing.T, o *Options, epoch uuid.UUID) uint64 {
	t.Helper()
	n, err := Waiting(t.Context(), o.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := testOptions(t.TempDir())
	if err := os.CopyFS(c.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	next := openSet(t, c)
	for _, l := range checkLedgers(t, next) {
		if l.Epoch == epoch && l.Spooled != n {
			t.Errorf("%d wait, the next start finds %d", n, l.Spooled)
		}
	}
	return n
}

package spool

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestSettleBeforeAKill: what Settle reports as missing is counted as lost by the consumer, so that a process that dies right
// after must not bring it back: the next one neither delivers it nor counts it as held.
func TestSettleBeforeAKill(t *testing.T) {
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
	// The store of the consumer comes back damaged, with 25 of them.
	missing, err := s.Settle(context.Background(), batches[0].Epoch, last, 25)
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

// TestSettleWithoutFigures: an epoch whose queue and ledger are both lost knows nothing of what was acknowledged; what the consumer has
// of it counts, so that the figures add up again and the folder can go.
func TestSettleWithoutFigures(t *testing.T) {
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
	appendN(t, s, 120, 7) // in the journal only
	epoch, dir := s.Epoch(), s.current.dir
	abandon(t, s)
	for _, name := range []string{"queue.db", "ledger"} {
		if err := os.Truncate(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	next := openSet(t, o)
	if missing, err := next.Settle(context.Background(), epoch, last, held); err != nil || missing != 0 {
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

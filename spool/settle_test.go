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

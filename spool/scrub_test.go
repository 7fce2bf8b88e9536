package spool

import (
	"context"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/filetest"
)

// TestScrubLeavesNothingOfWhatWasAcknowledged: after a scrub, acknowledged records are in no file, other records stay and are delivered, and
// recording continues meanwhile.
func TestScrubLeavesNothingOfWhatWasAcknowledged(t *testing.T) {
	const secret = "s3cr3tT0k3nZq7canary"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	record := func(n int, path string) {
		for i := range n {
			e := sample(i)
			e.Path = []byte(path)
			s.Record(e)
		}
		if err := s.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 6 {
		record(200, "/reset/"+secret)
	}
	drainAll := func() (events int) {
		for {
			batches, err := s.Peek(ctx, PeekOptions{MinEvents: 1, MaxBytes: 1 << 20, MaxWait: 5 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if len(batches) == 0 {
				return events
			}
			for _, b := range batches {
				events += int(b.Records)
				if err := s.Ack(ctx, b.Epoch, b.LastSeq); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n := drainAll(); n != 1200 {
		t.Fatalf("%d events", n)
	}
	if len(filetest.With(t, o.Dir, secret)) == 0 {
		t.Fatal("no file holds the secret, so finding none afterwards would prove nothing")
	}
	record(100, "/after") // not acknowledged while Scrub is running
	acked := make(chan int, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		acked <- drainAll()
	}()
	if err := s.Scrub(ctx); err != nil {
		t.Fatal(err)
	}
	if n := <-acked; n != 100 {
		t.Errorf("%d events delivered that came before the scrub, want 100", n)
	}
	if found := filetest.With(t, o.Dir, secret); len(found) > 0 {
		t.Errorf("the secret is still in %s", found)
	}
	record(500, "/later")
	if n := drainAll(); n != 500 {
		t.Errorf("%d events after the scrub, want 500", n)
	}
}

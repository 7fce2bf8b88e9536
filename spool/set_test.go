package spool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestAppendFlushPeekAck(t *testing.T) {
	s := openSet(t, testOptions(t.TempDir()))
	want := appendN(t, s, 0, 1000)
	s.Exclude()
	mustFlush(t, s)
	l := checkLedgers(t, s)[0]
	if l.Responses != 1001 || l.Recorded != 1000 || l.Excluded != 1 || l.Spooled != 1000 || l.LastSeq != 1000 || l.Closed {
		t.Fatalf("ledger %+v", l)
	}
	wantEvents(t, drain(t, s), want)
	if l := checkLedgers(t, s)[0]; l.Spooled != 0 || l.Recorded != 1000 {
		t.Fatalf("ledger after drain %+v", l)
	}
}

func TestCommittedByRun(t *testing.T) {
	s := openSet(t, testOptions(t.TempDir()))
	running(t, s)
	want := appendN(t, s, 0, 10)
	batches, err := s.Peek(context.Background(), PeekOptions{MinEvents: 10, MaxWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	got := drain(t, s)
	wantEvents(t, got, want)
	if batches[0].FirstSeq != 1 {
		t.Fatalf("first seq %d", batches[0].FirstSeq)
	}
}

func TestReopenAfterClose(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	want := appendN(t, s, 0, 500)
	old := s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSet(t, o)
	wantEvents(t, drain(t, s), want)
	l := checkLedgers(t, s)
	if len(l) != 2 || l[0].Epoch != old || !l[0].Closed || l[0].Recorded != 500 || l[0].Spooled != 0 {
		t.Fatalf("ledgers %+v", l)
	}
	if err := s.Retire(context.Background(), s.Epoch()); !errors.Is(err, ErrNotDrained) {
		t.Fatalf("retire of the active epoch: %v", err)
	}
	if err := s.Retire(context.Background(), old); err != nil {
		t.Fatal(err)
	}
	if err := s.Retire(context.Background(), old); err != nil {
		t.Fatalf("second retire: %v", err)
	}
	if l := checkLedgers(t, s); len(l) != 1 {
		t.Fatalf("ledgers after retire %+v", l)
	}
}

// TestStatusWhileRetiring reads status and metrics while an epoch is retired, for the race detector.
func TestStatusWhileRetiring(t *testing.T) {
	o := testOptions(t.TempDir())
	for range 5 {
		s := openSet(t, o)
		appendN(t, s, 0, 20)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openSet(t, o)
	drain(t, s)
	checkLedgers(t, s)
	var asking sync.WaitGroup
	ended := make(chan struct{})
	asking.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				s.Status()
			}
		}
	})
	for _, l := range checkLedgers(t, s) {
		if !l.Closed {
			continue
		}
		if err := s.Retire(context.Background(), l.Epoch); err != nil {
			t.Error(err)
		}
	}
	close(ended)
	asking.Wait()
	if st := s.Status(); st.Epochs != 1 {
		t.Errorf("%d epochs are left", st.Epochs)
	}
}

func TestRecoverAfterKill(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSet(t, o)
	want := appendN(t, s, 0, 300)
	mustFlush(t, s)
	for k, v := range appendN(t, s, 300, 200) {
		want[k] = v
	}
	s.Exclude()
	abandon(t, s)
	s = openSet(t, o)
	l := checkLedgers(t, s)[0]
	if !l.Closed || l.Recorded != 500 || l.Excluded != 1 || l.Spooled != 500 || l.Responses != 501 || l.LastSeq != 500 {
		t.Fatalf("recovered ledger %+v", l)
	}
	wantEvents(t, drain(t, s), want)
}

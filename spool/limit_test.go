package spool

import (
	"context"
	"errors"
	"testing"
)

// fillQueue appends until a commit does not fit, and returns the number of accepted responses.
func fillQueue(t *testing.T, s *Set) (accepted uint64) {
	t.Helper()
	for {
		for i := range 200 {
			if _, r := s.TryAppend(sample(i)); r == Accepted {
				accepted++
			}
		}
		switch err := s.Flush(context.Background()); {
		case errors.Is(err, ErrQueueFull):
			return accepted
		case err != nil:
			t.Fatal(err)
		}
	}
}

// TestLimitQueue: once the limit is raised, a full queue accepts more. Once it is lowered, the queue stops growing, and the next queue is
// created with the new limit.
func TestLimitQueue(t *testing.T) {
	o := testOptions(t.TempDir())
	o.QueueBytesMax = QueueBytesMin
	s := openSet(t, o)
	accepted := fillQueue(t, s)
	if n := s.Status().QueueBytes; n > QueueBytesMin {
		t.Fatalf("%d bytes, the limit is %d", n, QueueBytesMin)
	}
	if err := s.LimitQueue(context.Background(), 3*QueueBytesMin); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, s)
	more := fillQueue(t, s)
	before := s.Status().QueueBytes
	if before <= QueueBytesMin || before > 3*QueueBytesMin || more < accepted/2 {
		t.Fatalf("%d bytes, %d more after %d", before, more, accepted)
	}
	accepted += more
	if err := s.LimitQueue(context.Background(), 2*QueueBytesMin); err != nil {
		t.Fatal(err)
	}
	accepted += fillQueue(t, s)
	if n := s.Status().QueueBytes; n != before {
		t.Fatalf("%d bytes, had %d", n, before)
	}
	if l := checkLedgers(t, s)[0]; l.Recorded != accepted || l.Spooled != accepted {
		t.Fatalf("accepted %d, ledger %+v", accepted, l)
	}
}

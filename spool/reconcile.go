package spool

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// Reconcile implements Source. The consumer counts missing responses as lost. Before Reconcile returns their number, it makes their
// acknowledgment durable; otherwise they would be delivered again if this process died. Corrected figures are also made durable if a
// queue file can be written. If none can be written, the next start finds the same difference.
func (s *Set) Reconcile(ctx context.Context, id uuid.UUID, seq, held uint64) (missing uint64, err error) {
	e, missing, unknown, err := s.reconcileInMemory(id, seq, held)
	if unknown > 0 {
		s.o.Logger.Warn("the queue and ledger of an epoch were lost; its responses are counted from the store", "epoch", id, "responses", unknown)
	}
	if err != nil || missing == 0 && unknown == 0 {
		return missing, err
	}
	if err := s.step(ctx, func(c *committer) error { return c.commitAcksOf(e) }); err != nil {
		return 0, fmt.Errorf("reconcile %s: %w", id, err)
	}
	return missing, nil
}

// reconcileInMemory returns the number of missing responses, and the number of those that the consumer has although no figure of the closed
// epoch counted them. These count as recorded from now on.
func (s *Set) reconcileInMemory(id uuid.UUID, seq, held uint64) (e *epoch, missing, unknown uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.epochLocked(id); e == nil {
		return nil, 0, 0, fmt.Errorf("reconcile %s: %w", id, ErrUnknownEpoch)
	}
	if e.closed && seq > e.lastSeq { // the spool was damaged after the consumer had the events
		e.lastSeq = seq
		e.reported = reportedDrops{} // the consumer ignores drop records up to that seq
	}
	seq = min(seq, e.lastSeq)
	spooled, err := e.spooledLocked(seq)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("reconcile %s: %w", id, err)
	}
	if known := held + spooled; e.recorded < known {
		// Some expired or were found damaged after the consumer had already received them: these were not lost.
		for _, reason := range []Refusal{lostAge, lostDamaged} {
			back := min(known-e.recorded, e.counters.dropped(reason))
			e.counters.drop(reason, -back)
			e.recorded += back
			e.ackedResponses += back
		}
		if e.closed && e.recorded < known {
			unknown = known - e.recorded
			e.recorded += unknown
			e.ackedResponses += unknown
		}
		e.ackPending = true
	} else {
		missing = e.recorded - known
	}
	s.cachedBytes -= e.ackLocked(seq)
	s.notify()
	return e, missing, unknown, nil
}

package spool

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// Reconcile implements Source. What is missing was acknowledged: before it is reported, and counted as lost, that is made durable, or
// a death of this process would bring it back. So is what no figure here knew, as far as there is a queue left to say it in; the next
// start finds it again otherwise.
func (s *Set) Reconcile(ctx context.Context, id uuid.UUID, seq, held uint64) (missing uint64, err error) {
	e, missing, unknown, err := s.reconcileInMemory(id, seq, held)
	if unknown > 0 {
		s.o.Logger.Warn("a spool had lost its figures, queue and ledger both; what the store holds of it counts", "epoch", id, "responses", unknown)
	}
	if err != nil || missing == 0 && unknown == 0 {
		return missing, err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("reconcile %s: %w", id, err)
	}
	defer s.release()
	if s.closing.Load() {
		return 0, fmt.Errorf("reconcile %s: %w", id, ErrClosed)
	}
	if err := c.commitAcksOf(e); err != nil {
		return 0, fmt.Errorf("reconcile %s: %w", id, err)
	}
	return missing, nil
}

// reconcileInMemory returns besides what is missing what the consumer has and no figure of a closed epoch knew: counted as recorded from then on.
func (s *Set) reconcileInMemory(id uuid.UUID, seq, held uint64) (e *epoch, missing, unknown uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.epochLocked(id); e == nil {
		return nil, 0, 0, fmt.Errorf("reconcile %s: %w", id, ErrUnknownEpoch)
	}
	if e.closed && seq > e.lastSeq { // the consumer knows better than a spool that was damaged since
		e.lastSeq = seq
		e.reported = reportedDrops{} // it does not take the drop records up to there
	}
	seq = min(seq, e.lastSeq)
	spooled, err := e.spooledLocked(seq)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("reconcile %s: %w", id, err)
	}
	if known := held + spooled; e.recorded < known {
		// Given up or damaged after the consumer had it: it was not lost after all.
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

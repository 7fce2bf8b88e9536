package spool

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// Settle implements Source.
func (s *Set) Settle(_ context.Context, id uuid.UUID, seq, held uint64) (missing uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.epochLocked(id)
	if e == nil {
		return 0, fmt.Errorf("settle %s: %w", id, ErrUnknownEpoch)
	}
	if e.closed {
		e.lastSeq = max(e.lastSeq, seq) // the consumer knows better than a spool that was damaged since
	}
	seq = min(seq, e.lastSeq)
	spooled, err := e.spooledLocked(seq)
	if err != nil {
		return 0, fmt.Errorf("settle %s: %w", id, err)
	}
	if known := held + spooled; e.recorded < known {
		// Given up or damaged after the consumer had it: it was not lost after all.
		for _, reason := range []Refusal{lostAge, lostDamaged} {
			back := min(known-e.recorded, e.counters.dropped(reason))
			e.counters.drop(reason, -back)
			e.recorded += back
			e.ackedResponses += back
		}
		e.ackPending = true
	} else {
		missing = e.recorded - known
	}
	s.cachedBytes -= e.ackLocked(seq)
	s.notify()
	return missing, nil
}

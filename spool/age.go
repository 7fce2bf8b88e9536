package spool

import (
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/internal/crash"
)

const (
	// holdMax is how long what Peek handed out counts as being held by the consumer: meanwhile nothing from there on is given
	// up. A consumer that takes longer, and then says that it has the events, is believed (see [Set.Settle]).
	holdMax = time.Minute
	// giveUpBatchesMax bounds one transaction that gives up.
	giveUpBatchesMax = 4096
)

// giveUp counts as dropped what has waited for longer than Options.AgeMax, oldest first, in whole batches. The time is that
// during which a process of wayside held the batch: neither a clock that jumps nor a machine that was off makes a batch
// older, and after a start the consumer has all of AgeMax again. The caller holds sem.
func (s *Set) giveUp() error {
	if s.o.AgeMax <= 0 {
		return nil
	}
	s.mu.Lock()
	epochs := append([]*epoch(nil), s.epochs...)
	s.mu.Unlock()
	var errs []error
	for _, e := range epochs {
		total := uint64(0)
		n, more, err := s.giveUpSome(e)
		for total += n; more && err == nil; total += n {
			n, more, err = s.giveUpSome(e)
		}
		s.givenUp.Add(total)
		if total > 0 && e.closed { // of the active epoch, the log of drops tells
			s.o.Logger.Warn("responses that an earlier process left have waited too long: they are dropped from the books, and counted",
				"epoch", e.id, "responses", total, "age_max", s.o.AgeMax)
		}
		if e.closed {
			s.tellClosed(e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// giveUpSome takes the oldest batches of an epoch away in one transaction with the figures that say so. Only then do the
// figures in memory follow: a death in between finds either all of it or nothing.
func (s *Set) giveUpSome(e *epoch) (responses uint64, more bool, err error) {
	q := e.writer()
	if q == nil {
		return 0, false, nil // nothing could say durably that they are gone
	}
	now := s.o.Now()
	s.mu.Lock()
	n := e.tooOldLocked(now, s.o.AgeMax)
	if n == 0 {
		s.mu.Unlock()
		return 0, false, nil
	}
	acknowledged, err := e.acknowledgedPartLocked()
	if err != nil {
		s.mu.Unlock()
		return 0, false, fmt.Errorf("give up what is too old: %w", err)
	}
	e.leaving, e.index = e.index[:n:n], e.index[n:]
	for i := range e.leaving {
		responses += uint64(e.leaving[i].responses)
	}
	responses -= acknowledged
	deletes := e.takeDeletesLocked(q)
	gone := keys(deletes)
	for i := range e.leaving {
		if e.leaving[i].file == q {
			gone = append(gone, e.leaving[i].key())
		}
	}
	m := e.metaWithoutLocked(responses, acknowledged)
	s.mu.Unlock()

	crash.Point("spool.age.before")
	if err := q.commit(nil, gone, m); err != nil {
		return 0, false, s.keepAfterAll(e, q, deletes, err)
	}
	crash.Point("spool.age.after")
	s.commits.Add(1)
	s.mu.Lock()
	for i := range e.leaving {
		if e.leaving[i].file != nil {
			s.cachedBytes -= len(e.leaving[i].cached)
		}
	}
	e.leaving = nil
	e.reported = told{} // the records that told may have been among them
	e.givenUp, e.acked = m.GivenUp, max(e.acked, m.Acked)
	e.ackedResponses += acknowledged
	e.recorded -= min(e.recorded, responses)
	e.counters.drop(lostAge, responses)
	e.ackPending = true // what was acknowledged during the transaction
	s.mu.Unlock()
	e.counters.committed(m)
	s.settleAcks(e, m)
	s.recycleHeld(e)
	s.notify()
	return responses, n == giveUpBatchesMax, nil
}

// keepAfterAll puts back what could not be given up durably.
func (s *Set) keepAfterAll(e *epoch, q *queueFile, deletes []entry, err error) error {
	s.restoreDeletes(e, deletes)
	s.mu.Lock()
	e.index, e.leaving = append(e.leaving, e.index...), nil
	if acked := e.acked; acked >= e.index[0].first { // acknowledged meanwhile
		e.acked = 0
		s.cachedBytes -= e.ackLocked(acked)
	}
	s.mu.Unlock()
	switch {
	case isFull(err):
		s.fullCommits.Add(1)
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	case e.closed:
		s.commitFailed(err)
		s.mu.Lock()
		q.readOnly = true
		s.mu.Unlock()
		return nil
	default:
		return s.roll(e, err)
	}
}

// tooOldLocked is the number of batches, from the oldest on, that are older than max and that nobody holds.
func (e *epoch) tooOldLocked(now time.Time, max time.Duration) (n int) {
	held := now.Sub(e.peekedAt) < holdMax
	for n < len(e.index) && n < giveUpBatchesMax && now.Sub(e.index[n].at) > max && (!held || e.index[n].first > e.peeked) {
		n++
	}
	return n
}

// acknowledgedPartLocked counts the responses of the oldest batch that were acknowledged, which are not there to be given up.
func (e *epoch) acknowledgedPartLocked() (uint64, error) {
	if e.index[0].first > e.acked {
		return 0, nil
	}
	left, err := e.index[0].responsesAfter(e.acked)
	return uint64(e.index[0].responses) - min(left, uint64(e.index[0].responses)), err
}

// metaWithoutLocked is the state once e.leaving is given up.
func (e *epoch) metaWithoutLocked(responses, acknowledged uint64) *meta {
	last := e.leaving[len(e.leaving)-1].last
	m := e.metaLocked(0, nil)
	m.Told = nil // the records that told may be among what leaves
	m.Version, m.GivenUp, m.Acked = metaVersionAge, last, max(m.Acked, last)
	m.AckedResponses += acknowledged
	m.Recorded -= min(m.Recorded, responses)
	if m.Dropped == nil {
		m.Dropped = make(map[string]uint64)
	}
	m.Dropped[lostAge.String()] += responses
	return m
}

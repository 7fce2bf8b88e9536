package spool

import (
	"errors"
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// commitAcks commits the acknowledgements of every epoch that has some. The caller holds sem.
func (s *Set) commitAcks() error {
	s.mu.Lock()
	epochs := append([]*epoch(nil), s.epochs...)
	s.mu.Unlock()
	var errs []error
	for _, e := range epochs {
		s.mu.Lock()
		pending := e.ackPending
		s.mu.Unlock()
		if pending {
			errs = append(errs, s.commitAcksOf(e))
		}
	}
	return errors.Join(errs...)
}

// commitAcksOf commits state and acknowledgements of an epoch. A closed epoch that cannot be written keeps them in memory:
// after a restart its events are delivered again, which consumers must expect.
func (s *Set) commitAcksOf(e *epoch) error {
	q := e.writer()
	s.mu.Lock()
	if q == nil {
		e.ackPending = false
		s.mu.Unlock()
		return nil
	}
	m := e.stateLocked(0, nil)
	c := queue.Change{Removals: q.Removals(), State: m}
	s.mu.Unlock()
	err := q.Commit(c)
	switch {
	case err == nil:
		s.commits.Add(1)
		e.counters.committed(m)
		s.pruneAcked(e, m)
		s.recycleHeld(e)
		return nil
	case errors.Is(err, queue.ErrFull):
		s.fullCommits.Add(1)
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	case e.closed:
		s.commitFailed(err)
		q.Retire()
		s.mu.Lock()
		e.ackPending = false
		s.mu.Unlock()
		return nil
	default:
		return s.roll(e, err)
	}
}

// pruneAcked notes that m is durable, and removes the queue files that have nothing left to deliver.
func (s *Set) pruneAcked(e *epoch, m *queue.State) {
	s.mu.Lock()
	if e.acked == m.Acked {
		e.ackPending = false
	}
	var drained []*queue.File
	if len(e.files) > 1 {
		inUse := make(map[*queue.File]bool)
		for i := range e.index {
			inUse[e.index[i].file] = true
		}
		last := len(e.files) - 1
		kept := make([]*queue.File, 0, len(e.files))
		for i, q := range e.files {
			if i == last || inUse[q] || e.acked != m.Acked {
				kept = append(kept, q)
			} else {
				drained = append(drained, q)
			}
		}
		e.files = kept
	}
	s.mu.Unlock()
	for _, q := range drained {
		if err := errors.Join(q.Close(), os.Remove(q.Name())); err != nil {
			s.o.Logger.Warn("drained queue file stays", "file", q.Name(), "error", err)
		}
	}
}

package spool

import (
	"errors"
	"fmt"
	"os"
)

// takeDeletesLocked hands out the acknowledged entries that are still in q.
func (e *epoch) takeDeletesLocked(q *queueFile) []entry {
	out := e.deletes
	e.deletes = nil
	n := 0
	for i := range out {
		if out[i].file == q {
			out[n] = out[i]
			n++
		}
	}
	return out[:n]
}

func (s *Set) restoreDeletes(e *epoch, deletes []entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.deletes = append(e.deletes, deletes...)
}

func keys(entries []entry) [][]byte {
	out := make([][]byte, len(entries))
	for i := range entries {
		out[i] = entries[i].key()
	}
	return out
}

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
		e.ackPending, e.deletes = false, nil
		s.mu.Unlock()
		return nil
	}
	deletes := e.takeDeletesLocked(q)
	m := e.metaLocked(0, nil)
	s.mu.Unlock()
	err := q.commit(nil, keys(deletes), m)
	switch {
	case err == nil:
		s.commits.Add(1)
		e.counters.committed(m)
		s.settleAcks(e, m)
		s.recycleHeld(e)
		return nil
	case isFull(err):
		s.restoreDeletes(e, deletes)
		s.fullCommits.Add(1)
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	case e.closed:
		s.commitFailed(err)
		s.mu.Lock()
		q.readOnly, e.ackPending = true, false
		s.mu.Unlock()
		return nil
	default:
		return s.roll(e, err)
	}
}

// settleAcks notes that m is durable, and removes the queue files that have nothing left to deliver.
func (s *Set) settleAcks(e *epoch, m *meta) {
	s.mu.Lock()
	if e.acked == m.Acked {
		e.ackPending = false
	}
	var drained []*queueFile
	if len(e.files) > 1 {
		inUse := make(map[*queueFile]bool)
		for i := range e.index {
			inUse[e.index[i].file] = true
		}
		last := len(e.files) - 1
		kept := make([]*queueFile, 0, len(e.files))
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
		if err := errors.Join(q.close(), os.Remove(q.name)); err != nil {
			s.o.Logger.Warn("drained queue file stays", "file", q.name, "error", err)
		}
	}
}

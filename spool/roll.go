package spool

import (
	"errors"
	"fmt"
	"os"
)

// roll begins a new queue file after the present one failed, and commits there the segments that the failed one may not
// have kept. The failed file is only read from now on.
func (s *Set) roll(e *epoch, cause error) error {
	s.commitFailed(cause)
	if err := s.replace(e, cause); err != nil {
		return err
	}
	s.o.Logger.Warn("queue file failed, continuing in a new one", "error", cause)
	return nil
}

// replace is roll without the log. The held segments are committed in the new file.
func (s *Set) replace(e *epoch, cause error) error {
	number := 0
	s.mu.Lock()
	for _, q := range e.files {
		q.readOnly = true
		number = q.number + 1
	}
	m := e.metaLocked(0, nil)
	s.mu.Unlock()
	q, err := createQueue(&s.o, e.dir, number, m)
	if err != nil {
		s.setDegraded("no queue file: " + err.Error())
		return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(cause, err))
	}
	for _, seg := range e.held {
		b, value := s.build(seg)
		if b.records == 0 {
			continue
		}
		s.mu.Lock()
		found := e.findLocked(b.first) != nil
		s.mu.Unlock()
		if !found {
			continue // acknowledged meanwhile
		}
		if err := q.commit([]put{{b.key(), value}}, nil, m); err != nil {
			_ = q.close()
			_ = os.Remove(q.name)
			s.setDegraded("no queue file: " + err.Error())
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		s.mu.Lock()
		if at := e.findLocked(b.first); at != nil {
			at.file = q
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.files = append(e.files, q)
	e.deletes = nil // of the files before, which are removed as a whole
	return nil
}

func (s *Set) commitFailed(err error) {
	s.commitErrors.Add(1)
	s.setDegraded("commit: " + err.Error())
	s.o.Logger.Error("spool commit failed", "error", err)
}

package spool

import (
	"errors"
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
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
		q.Retire()
		number = q.Number() + 1
	}
	m := e.stateLocked(0, nil)
	s.mu.Unlock()
	q, err := queue.Create(s.o.queue(), e.dir, number, m)
	if err != nil {
		s.setDegraded("no queue file: " + err.Error())
		return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(cause, err))
	}
	for _, seg := range s.held(e) {
		b, value := s.build(seg)
		if b.Records == 0 {
			continue
		}
		s.mu.Lock()
		found := e.findLocked(b.First) != nil
		s.mu.Unlock()
		if !found {
			continue // acknowledged meanwhile
		}
		if err := q.Commit(queue.Change{Batch: &b.Batch, Value: value, State: m}); err != nil {
			_ = q.Close()
			_ = os.Remove(q.Name())
			s.setDegraded("no queue file: " + err.Error())
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		s.mu.Lock()
		if at := e.findLocked(b.First); at != nil {
			at.file = q
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.files = append(e.files, q)
	return nil
}

// held is the segments that the last commit took, which a file that failed may not have kept.
func (s *Set) held(e *epoch) []*journal.Segment {
	if j := s.journal.Load(); j != nil && e == s.current {
		return j.HeldSegments()
	}
	return nil
}

func (s *Set) commitFailed(err error) {
	s.commitErrors.Add(1)
	s.setDegraded("commit: " + err.Error())
	s.o.Logger.Error("spool commit failed", "error", err)
}

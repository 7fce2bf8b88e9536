package spool

import (
	"context"
	"fmt"
)

// LimitQueue sets Options.QueueBytesMax for the present queue file and for later ones, but to no less than [QueueBytesMin] and eight journal
// segments of their present size. bbolt's files never shrink: one that is larger accepts only batches for which it has free pages, until it
// is removed with its epoch.
func (s *Set) LimitQueue(ctx context.Context, bytesMax int64) error {
	err := s.step(ctx, func(*committer) error {
		s.o.QueueBytesMax = max(bytesMax, QueueBytesMin, queueSegments*int64(s.o.segmentBytes))
		if q := s.current.writer(); q != nil {
			q.Limit(s.o.QueueBytesMax)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("limit the queue to %d bytes: %w", bytesMax, err)
	}
	s.notify() // a batch that did not fit may fit now
	return nil
}

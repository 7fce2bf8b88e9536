package spool

import (
	"context"
	"fmt"
)

// LimitQueue sets Options.QueueBytesMax for the current queue file and for later ones, but never below [QueueBytesMin] or the size of
// eight journal segments. bbolt's files never shrink: a file that is larger than the limit accepts only batches that fit into its free
// pages, until it is removed with its epoch.
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

package spool

import (
	"context"
	"fmt"
)

// LimitQueue sets Options.QueueBytesMax for the queue files that are open and for those to come; less than [QueueBytesMin], or than
// eight journal segments as they are now, is taken for that. A file that is larger already stays as it is, because bbolt's never shrink: it takes no more than it has room
// for, and goes with its epoch.
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
	s.notify() // what did not fit may now
	return nil
}

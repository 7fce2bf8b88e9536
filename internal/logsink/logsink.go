// Package logsink keeps the reader of a log from blocking the process that writes the log.
//
// Lines are queued in memory, up to a limit, and written by a goroutine. If the reader hangs, disappears or is slow, lines are lost and
// counted, but no caller waits. If the process ends abruptly, the lines that are still queued are lost.
package logsink

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// QueueBytes limits the total size of the lines that are waiting to be written.
const QueueBytes = 1 << 20

// Sink is an io.Writer that never blocks and never fails. Each Write must contain whole lines.
type Sink struct {
	to     io.Writer
	onLoss func(lines uint64)
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards the fields below
	queue  [][]byte
	bytes  int // number of bytes in queue
	lost   uint64
	closed bool
}

// New returns a Sink that writes to to, and starts its goroutine. If onLoss is not nil, the goroutine calls it when a write succeeds
// after lines have been lost, with the number of lines lost since the last call. onLoss may write to the Sink.
func New(to io.Writer, onLoss func(lines uint64)) *Sink {
	s := &Sink{to: to, onLoss: onLoss, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// Write queues a copy of p, or counts its lines as lost. It always returns len(p) and nil.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.closed || s.bytes+len(p) > QueueBytes {
		s.lost += lines(p)
	} else {
		s.queue, s.bytes = append(s.queue, bytes.Clone(p)), s.bytes+len(p)
	}
	s.mu.Unlock()
	s.wakeUp()
	return len(p), nil
}

// Lost returns the number of lines that were lost.
func (s *Sink) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Close waits until all queued lines have been written, but no longer than limit, even if a write hangs. Lines that are written after
// Close are lost.
func (s *Sink) Close(limit time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wakeUp()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
}

func (s *Sink) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Sink) run() {
	defer close(s.done)
	reported := uint64(0)
	for {
		p, closed := s.next()
		switch {
		case p != nil:
			_, err := s.to.Write(p)
			lost := s.written(p, err)
			if err == nil && lost > reported && s.onLoss != nil {
				s.onLoss(lost - reported)
				reported = lost
			}
		case closed:
			return
		default:
			<-s.wake
		}
	}
}

// next returns the bytes for the next write, or nil if there are none.
func (s *Sink) next() (p []byte, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.queue = nil
		return nil, s.closed
	}
	return s.queue[0], s.closed
}

// written removes p from the queue, and returns the number of lines lost so far.
func (s *Sink) written(p []byte, err error) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue[0] = nil
	s.queue, s.bytes = s.queue[1:], s.bytes-len(p)
	if err != nil {
		s.lost += lines(p)
	}
	return s.lost
}

func lines(p []byte) uint64 { return uint64(max(1, bytes.Count(p, []byte{'\n'}))) }

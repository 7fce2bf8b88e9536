// Package logsink keeps a log's reader from holding up those who write the log.
//
// Lines are queued in memory, up to a bound, and written by a goroutine of their own. A reader that hangs, leaves or is slow costs
// lines, which are counted; nobody waits for it. A process that ends abruptly loses the lines that are still queued.
package logsink

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// QueueBytes bounds the lines that wait to be written.
const QueueBytes = 1 << 20

// Sink is an io.Writer that never waits and never fails. Each Write must hold whole lines.
type Sink struct {
	to     io.Writer
	onLoss func(lines uint64)
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards what follows
	queue  [][]byte
	bytes  int // of queue
	lost   uint64
	closed bool
}

// New returns a Sink that writes to to, and starts its goroutine. onLoss, if not nil, is called from that goroutine once a write
// succeeds again after lines were lost, with their number since the call before; what it writes to the Sink is queued.
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
	s.poke()
	return len(p), nil
}

// Lost is the number of lines that were not written and never will be.
func (s *Sink) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Close waits until what is queued is written, for at most limit; later lines are lost. A write that hangs is left behind.
func (s *Sink) Close(limit time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.poke()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
}

func (s *Sink) poke() {
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

// next is what is to be written next; nil: nothing.
func (s *Sink) next() (p []byte, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.queue = nil
		return nil, s.closed
	}
	return s.queue[0], s.closed
}

// written takes p out of the queue, whose room it had until now, and returns the lines lost so far.
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

package admin

import (
	"sync"
	"time"
)

// shared makes a value once for all who ask meanwhile. It is good for ten times as long as it took to make, at most a second,
// so that however many ask, making it takes no more than a tenth of a processor.
type shared[T any] struct {
	make func() T // returns by itself, whoever still waits

	mu   sync.Mutex
	call *call[T]  // under way, or the last one; guarded by mu
	good time.Time // until when the last one is good; zero while it is under way; guarded by mu
}

// call is one making. value is valid once done is closed.
type call[T any] struct {
	done    chan struct{}
	waiters int // guarded by the shared's mu
	value   T
}

// get returns a value that is being made, or is good. ok is false if too many wait for it already, or gone is closed.
func (s *shared[T]) get(gone <-chan struct{}) (value T, ok bool) {
	s.mu.Lock()
	if s.call == nil || !s.good.IsZero() && !time.Now().Before(s.good) {
		s.call, s.good = &call[T]{done: make(chan struct{})}, time.Time{}
		go s.run(s.call)
	}
	c := s.call
	if s.good.IsZero() && c.waiters >= waitersMax {
		s.mu.Unlock()
		return value, false
	}
	c.waiters++
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.value, true
	case <-gone:
		s.mu.Lock()
		c.waiters--
		s.mu.Unlock()
		return value, false
	}
}

func (s *shared[T]) run(c *call[T]) {
	began := time.Now()
	c.value = s.make()
	s.mu.Lock()
	s.good = time.Now().Add(min(10*time.Since(began), time.Second))
	s.mu.Unlock()
	close(c.done)
}

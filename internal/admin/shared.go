package admin

import (
	"sync"
	"time"
)

// shared computes a value once for all callers that request it while it is being computed. The value stays valid for ten times as long as
// it took to compute, but at most for a second. So computing it takes at most about a tenth of a CPU, however many callers there are.
type shared[T any] struct {
	make func() T // must return even if no caller is waiting any longer

	mu   sync.Mutex
	call *call[T]  // the call in progress, or the last one; guarded by mu
	good time.Time // time until which the value of call is valid; zero while call is in progress; guarded by mu
}

// call is one call to shared.make. value is set before done is closed.
type call[T any] struct {
	done    chan struct{}
	waiters int // guarded by the shared's mu
	value   T
}

// get returns a valid value, or waits for one. ok is false if too many callers are already waiting, or if gone is
// closed.
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

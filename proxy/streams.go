package proxy

import "sync"

// streams contains the exchanges that do not end on their own: tunnels and event streams. A shutdown cuts them off. If the shutdown waited
// for them, no time would be left to drain and archive the events.
type streams struct {
	mu   sync.Mutex
	cuts map[*exchange]func() // guarded by mu; functions that cut off the exchanges
}

func (s *streams) add(x *exchange, cut func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cuts == nil {
		s.cuts = make(map[*exchange]func())
	}
	s.cuts[x] = cut
}

func (s *streams) remove(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cuts, x)
}

func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cuts)
}

// cutAll ends all streams. They are recorded with the error type "shutdown".
func (s *streams) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cut := range s.cuts {
		cut()
	}
}

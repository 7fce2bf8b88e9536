package proxy

import "sync"

// streams holds the exchanges that do not end by themselves, tunnels and event streams: a shutdown would wait for them until
// its time is over, and have none left for the books.
type streams struct {
	mu   sync.Mutex
	cuts map[*exchange]func() // guarded by mu
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

// cutAll ends them. They are recorded with the error type "shutdown".
func (s *streams) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cut := range s.cuts {
		cut()
	}
}

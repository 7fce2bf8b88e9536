package snapshot

import "sync"

// Keep is the number of versions that a History keeps.
const Keep = 5

// History keeps the last versions. The zero value is empty and ready for use. It is safe for concurrent use.
type History struct {
	mu      sync.RWMutex
	list    []*Snapshot   // oldest first; guarded by mu
	changed chan struct{} // closed by the next Add; nil while no one is waiting; guarded by mu
}

// Add appends a version and removes the oldest one beyond the limit. It ignores a version that the history already has,
// because versions are immutable.
func (h *History) Add(s *Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, have := range h.list {
		if have.Version == s.Version {
			return
		}
	}
	if len(h.list) >= Keep {
		h.list = append(h.list[:0:0], h.list[len(h.list)-Keep+1:]...)
	}
	h.list = append(h.list, s)
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// Latest returns the version that was added last, or nil if there is none.
func (h *History) Latest() *Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.list) == 0 {
		return nil
	}
	return h.list[len(h.list)-1]
}

// Get returns a version, or nil if it is no longer kept.
func (h *History) Get(version uint64) *Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, s := range h.list {
		if s.Version == version {
			return s
		}
	}
	return nil
}

// List returns the available versions, newest first.
func (h *History) List() []*Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*Snapshot, 0, len(h.list))
	for i := len(h.list) - 1; i >= 0; i-- {
		out = append(out, h.list[i])
	}
	return out
}

// Changed returns a channel that is closed when the next version is added.
func (h *History) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

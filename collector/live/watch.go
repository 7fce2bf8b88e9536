package live

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Bounds of watching.
const (
	WatchersMax = 32   // at the same time
	feedMax     = 1024 // events that wait for one watcher
)

// ErrTooManyWatchers is returned by Watch beyond WatchersMax.
var ErrTooManyWatchers = errors.New("too many clients are watching already")

// Seen is an event that was applied just now, with the row it was counted under.
type Seen struct {
	Epoch               uuid.UUID
	Seq                 uint64
	Host, Method, Label string
	Event               *event.Event
}

// Watcher receives what it asked for until it is closed.
type Watcher struct {
	show   func(*Seen) []byte
	lines  chan []byte
	missed atomic.Uint64
	leave  func()
}

// Lines yields what show made of the events, one after the other.
func (w *Watcher) Lines() <-chan []byte { return w.lines }

// TakeMissed returns how many events did not fit since it was last asked: the watcher is slower than the traffic.
func (w *Watcher) TakeMissed() uint64 { return w.missed.Swap(0) }

// Close ends the watching.
func (w *Watcher) Close() { w.leave() }

type watchers struct {
	mu      sync.Mutex
	present atomic.Pointer[[]*Watcher]
}

func (w *watchers) list() []*Watcher {
	if p := w.present.Load(); p != nil {
		return *p
	}
	return nil
}

// Watch begins to deliver events that are applied from now on. show is called by the drain loop for each of them and
// returns the bytes to deliver, or nil; it must be quick, and may read the event during the call only.
func (f *Feed) Watch(show func(*Seen) []byte) (*Watcher, error) {
	w := &Watcher{show: show, lines: make(chan []byte, feedMax)}
	w.leave = sync.OnceFunc(func() { f.watchers.change(func(list []*Watcher) []*Watcher { return without(list, w) }) })
	full := false
	f.watchers.change(func(list []*Watcher) []*Watcher {
		if full = len(list) >= WatchersMax; full {
			return list
		}
		return append(append([]*Watcher(nil), list...), w)
	})
	if full {
		return nil, ErrTooManyWatchers
	}
	return w, nil
}

func (w *watchers) change(fn func([]*Watcher) []*Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := fn(w.list())
	w.present.Store(&next)
}

func without(list []*Watcher, w *Watcher) []*Watcher {
	var next []*Watcher
	for _, have := range list {
		if have != w {
			next = append(next, have)
		}
	}
	return next
}

// tell hands an event to the watchers. Nobody is waited for.
func (b *Batch) tell(seen *Seen) {
	for _, w := range b.watch {
		line := w.show(seen)
		if line == nil {
			continue
		}
		select {
		case w.lines <- line:
		default:
			w.missed.Add(1)
		}
	}
}

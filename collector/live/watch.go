package live

import (
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Bounds of watching.
const (
	WatchersMax  = 32        // at the same time; one more takes the place of the one that has watched longest
	feedMax      = 1024      // events that wait for one watcher, and
	feedBytesMax = 256 << 10 // their bytes
)

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
	bytes  atomic.Int64 // of the lines that wait
	missed atomic.Uint64
	gone   chan struct{}
	leave  func()
}

// Lines yields what show made of the events, one after the other. [Watcher.Took] must be called with each.
func (w *Watcher) Lines() <-chan []byte { return w.lines }

// Took says that a line does not wait any more.
func (w *Watcher) Took(line []byte) { w.bytes.Add(-int64(len(line))) }

// Gone is closed when the watcher has lost its place to a newer one.
func (w *Watcher) Gone() <-chan struct{} { return w.gone }

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
// returns the bytes to deliver, or nil; it must be quick, and may read the event during the call only. Beyond WatchersMax the
// watcher that came first loses its place: clients that do not read, or leave without a word, must not keep others out.
func (f *Feed) Watch(show func(*Seen) []byte) *Watcher {
	w := &Watcher{show: show, lines: make(chan []byte, feedMax), gone: make(chan struct{})}
	w.leave = sync.OnceFunc(func() { f.watchers.change(func(list []*Watcher) []*Watcher { return without(list, w) }) })
	f.watchers.change(func(list []*Watcher) []*Watcher {
		if len(list) >= WatchersMax {
			list[0].dismiss()
			list = list[1:]
		}
		return append(append([]*Watcher(nil), list...), w)
	})
	return w
}

// dismiss ends the watching of one that may be stuck in a write: what waits for it is let go at once.
func (w *Watcher) dismiss() {
	close(w.gone)
	for {
		select {
		case line := <-w.lines:
			w.Took(line)
		default:
			return
		}
	}
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
		if w.bytes.Load()+int64(len(line)) > feedBytesMax {
			w.missed.Add(1)
			continue
		}
		select {
		case w.lines <- line:
			w.bytes.Add(int64(len(line)))
		default:
			w.missed.Add(1)
		}
	}
}

package live

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Bounds for watchers.
const (
	WatchersMax  = 32        // watchers at the same time; one more displaces the oldest
	feedMax      = 1024      // events waiting for one watcher
	feedBytesMax = 256 << 10 // total size of the waiting events
)

// Seen is an event that has just been applied, and the row in which it was counted.
type Seen struct {
	Epoch uuid.UUID
	Seq   uint64
	Row   catalogue.RowName // the row, with the template under which it is shown
	Event *event.Event
}

// Watcher receives the events for which its show function returns a line, until it is closed.
type Watcher struct {
	show   func(*Seen) []byte
	lines  chan []byte
	bytes  atomic.Int64 // total length of the waiting lines
	missed atomic.Uint64
	gone   chan struct{}
	leave  func()
}

// Lines returns a channel of the lines. The reader must call [Watcher.Took] with each line.
func (w *Watcher) Lines() <-chan []byte { return w.lines }

// Took must be called when the reader has taken a line from the channel. The line then no longer counts as waiting.
func (w *Watcher) Took(line []byte) { w.bytes.Add(-int64(len(line))) }

// Gone is closed when a newer watcher has displaced this one.
func (w *Watcher) Gone() <-chan struct{} { return w.gone }

// TakeMissed returns the number of events that were dropped since its last call because the reader was too slow.
func (w *Watcher) TakeMissed() uint64 { return w.missed.Swap(0) }

// Close removes the watcher.
func (w *Watcher) Close() { w.leave() }

// watchers is a list that the drain loop reads without locking.
type watchers struct {
	mu      sync.Mutex // held while the list is changed
	current atomic.Pointer[[]*Watcher]
}

func (w *watchers) list() []*Watcher {
	if p := w.current.Load(); p != nil {
		return *p
	}
	return nil
}

// Watch adds a watcher for the events that are applied from now on. The drain loop calls show for each of these events; show returns the
// line to deliver, or nil. show must be fast and must not retain the event. If there are already WatchersMax watchers, the new one
// displaces the oldest, so clients that have stopped reading, or whose disconnection was not noticed, cannot lock others out.
func (f *Feed) Watch(show func(*Seen) []byte) *Watcher {
	w := &Watcher{show: show, lines: make(chan []byte, feedMax), gone: make(chan struct{})}
	w.leave = sync.OnceFunc(func() {
		f.watchers.change(func(list []*Watcher) []*Watcher {
			return slices.DeleteFunc(slices.Clone(list), func(other *Watcher) bool { return other == w })
		})
	})
	f.watchers.change(func(list []*Watcher) []*Watcher {
		if len(list) >= WatchersMax {
			list[0].displace()
			list = list[1:]
		}
		return append(slices.Clone(list), w)
	})
	return w
}

// displace ends a watcher. The goroutine that reads its lines may be blocked in a write, so the waiting lines are dropped immediately.
func (w *Watcher) displace() {
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
	w.current.Store(&next)
}

// deliver sends an event to the watchers. It never waits for a reader.
func (b *Batch) deliver(seen *Seen) {
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

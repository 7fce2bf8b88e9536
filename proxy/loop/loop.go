package loop

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// busyFor is how long a loop keeps its processor after the last event.
const busyFor = 4 * time.Millisecond

// Loop is one event loop. Create it with New and run it with Run. Unless a method says otherwise, only tasks of the loop and functions
// passed to Post may call it.
type Loop struct {
	log   *slog.Logger
	poll  poller
	start time.Time

	conns    []*Conn // by descriptor
	ready    []*Task // tasks to continue in the next round
	running  []*Task // tasks being continued in this round
	free     []*Task // idle tasks, kept for later jobs
	current  *Task   // the running task; nil if none is running
	timers   timers
	gen      int32         // gen of the most recently registered connection
	lastBusy time.Duration // time of the last event, relative to start

	waiting atomic.Bool // the loop is in epoll_wait, or about to be: Post must wake it
	closing atomic.Bool
	mu      sync.Mutex
	posted  []func() // guarded by mu
	taken   []func() // functions from posted that are being called
}

// New creates a loop with its epoll instance, which Run closes. It starts no goroutine.
func New(log *slog.Logger) (*Loop, error) {
	l := &Loop{log: log, start: time.Now()}
	return l, l.poll.open()
}

// Post makes the loop call fn soon. Any goroutine may call Post, which does not block. If Run has already returned, fn is not called.
func (l *Loop) Post(fn func()) {
	l.mu.Lock()
	l.posted = append(l.posted, fn)
	l.mu.Unlock()
	if l.waiting.CompareAndSwap(true, false) {
		l.poll.wake()
	}
}

// Stop makes Run return. Any goroutine may call it.
func (l *Loop) Stop() {
	l.closing.Store(true)
	l.Post(func() {})
}

// Run runs the loop until Stop is called, then closes its connections. It must be called only once.
func (l *Loop) Run() {
	for !l.closing.Load() {
		l.round()
	}
	for _, c := range l.conns {
		if c != nil {
			c.closeNow()
		}
	}
	for len(l.ready) > 0 || l.hasPosted() { // so that tasks notice the end of their connections
		l.runPosted()
		l.runReady()
	}
	for _, t := range l.free {
		t.end()
	}
	l.poll.close()
}

// round runs everything that is due and then waits for events.
func (l *Loop) round() {
	l.fire(time.Since(l.start))
	l.runPosted()
	l.runReady()
	l.await()
}

// await waits for events and passes them to the connections.
func (l *Loop) await() {
	l.waiting.Store(true)
	now := time.Since(l.start)
	wait, keep := time.Duration(-1), now-l.lastBusy < busyFor
	if len(l.timers) > 0 {
		wait = max(l.timers[0].at-now, 0)
	}
	if keep && (wait < 0 || wait > busyFor) {
		wait = busyFor
	}
	if len(l.ready) > 0 || l.hasPosted() || l.closing.Load() { // check closing, because the function that Stop posted may have run already
		wait = 0
	}
	events := l.poll.wait(wait, keep)
	l.waiting.Store(false)
	if len(events) > 0 {
		l.lastBusy = time.Since(l.start)
	}
	for i := range events {
		// The descriptor of an event may have been closed and reused in this round. gen shows whether that is so.
		if fd := int(events[i].Fd); fd != l.poll.wakeFD && fd < len(l.conns) && l.conns[fd] != nil && l.conns[fd].gen == events[i].Pad {
			l.conns[fd].event(events[i].Events)
		}
	}
}

func (l *Loop) hasPosted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.posted) > 0
}

func (l *Loop) runPosted() {
	l.mu.Lock()
	l.posted, l.taken = l.taken[:0], l.posted
	l.mu.Unlock()
	for i, fn := range l.taken {
		l.taken[i] = nil
		l.call(fn)
	}
}

// call calls fn. A panic in fn ends only fn.
func (l *Loop) call(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			l.log.Error("panic on an event loop; continuing", "value", r, "stack", string(debug.Stack()))
		}
	}()
	fn()
}

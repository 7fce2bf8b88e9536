package loop

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// timer wakes a task at a given time, unless it is stopped before that.
type timer struct {
	at    time.Duration // relative to the start of the loop
	task  *Task
	index int // position in the heap; -1 if it is not there
}

// timers is a heap with the earliest timer first.
type timers []*timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i]; t[i].index, t[j].index = i, j }

// Push implements [heap.Interface].
func (t *timers) Push(x any) {
	n := x.(*timer)
	n.index = len(*t)
	*t = append(*t, n)
}

// Pop implements [heap.Interface].
func (t *timers) Pop() any {
	last := len(*t) - 1
	n := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	n.index = -1
	return n
}

// startTimer starts a timer that wakes the running task after d.
func (l *Loop) startTimer(d time.Duration) *timer {
	t := &timer{at: time.Since(l.start) + d, task: l.current}
	heap.Push(&l.timers, t)
	return t
}

// over reports whether the timer has fired. A nil timer never does.
func (t *timer) over() bool { return t != nil && t.index < 0 }

func (l *Loop) stopTimer(t *timer) {
	if t != nil && t.index >= 0 {
		heap.Remove(&l.timers, t.index)
	}
}

// fire wakes the tasks whose time has come.
func (l *Loop) fire(now time.Duration) {
	for len(l.timers) > 0 && l.timers[0].at <= now {
		l.wake(heap.Pop(&l.timers).(*timer).task)
	}
}

// Signal is an event that occurs once. One task of its loop may wait for it.
type Signal struct {
	loop   *Loop
	set    atomic.Bool
	waiter *Task // the waiting task; used only by the loop and its tasks
}

// NewSignal returns a Signal that is not set. Any goroutine may call it.
func (l *Loop) NewSignal() *Signal { return &Signal{loop: l} }

// Set sets the signal. Any goroutine may call it.
func (s *Signal) Set() {
	s.set.Store(true)
	s.loop.Post(func() { s.loop.wake(s.waiter) })
}

// Wait waits until the signal is set. It waits at most d, or without a limit if d is negative. It reports whether the signal has been set.
func (s *Signal) Wait(d time.Duration) bool {
	if s.set.Load() || d == 0 {
		return s.set.Load()
	}
	var t *timer
	if d > 0 {
		t = s.loop.startTimer(d)
		defer s.loop.stopTimer(t)
	}
	s.waiter = s.loop.current
	for !s.set.Load() && !t.over() {
		s.waiter.park()
	}
	s.waiter = nil
	return s.set.Load()
}

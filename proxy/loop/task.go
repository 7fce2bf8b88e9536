package loop

import (
	"fmt"
	"iter"
	"runtime/debug"
)

const (
	// tasksKept is the number of idle tasks that a loop keeps for later jobs.
	tasksKept = 64
	// callsPerTurn is the number of reads and writes that a task may make before other tasks get their turn.
	callsPerTurn = 8
)

// Task is a coroutine that a loop runs.
type Task struct {
	loop   *Loop
	job    func() // nil if the task is idle
	resume func() (struct{}, bool)
	end    func()
	yield  func(struct{}) bool
	queued bool // the task is in Loop.ready
	calls  int  // number of reads and writes in this turn
}

// Go runs job as a task, in the next round.
func (l *Loop) Go(job func()) {
	var t *Task
	if n := len(l.free); n > 0 {
		t = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		t = l.newTask()
	}
	t.job = job
	l.wake(t)
}

// Block runs fn, which may block, on another goroutine. The calling task waits until fn has returned. A panic in fn becomes a panic in the task.
func (l *Loop) Block(fn func()) {
	t, done := l.current, false
	if t == nil {
		panic("loop: Block outside of a task would hold up the loop")
	}
	var failure any
	go func() {
		defer l.Post(func() {
			done = true
			l.wake(t)
		})
		defer func() {
			if failure = recover(); failure != nil {
				failure = fmt.Sprintf("%v\n%s", failure, debug.Stack())
			}
		}()
		fn()
	}()
	for !done {
		t.park()
	}
	if failure != nil {
		panic(failure)
	}
}

func (l *Loop) newTask() *Task {
	t := &Task{loop: l}
	t.resume, t.end = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		for {
			job := t.job
			t.job = nil
			l.call(job)
			if len(l.free) >= tasksKept {
				return
			}
			l.free = append(l.free, t)
			if !yield(struct{}{}) {
				return // the loop has ended
			}
		}
	})
	return t
}

// park yields control to the loop. It returns when the task is woken, possibly for a reason other than the one the caller is waiting for.
func (t *Task) park() { t.yield(struct{}{}) }

// takeTurn is called before each read and write. It makes a task whose sockets are always ready let the others run from time to time.
func (t *Task) takeTurn() {
	if t.calls++; t.calls > callsPerTurn {
		t.loop.wake(t)
		t.park()
	}
}

// wake makes the loop continue a parked task. It does nothing if t is nil.
func (l *Loop) wake(t *Task) {
	if t != nil && !t.queued {
		t.queued = true
		l.ready = append(l.ready, t)
	}
}

// runReady continues the tasks that are ready now. Tasks that become ready during that time wait for the next round, which comes after the
// sockets have been polled.
func (l *Loop) runReady() {
	l.ready, l.running = l.running[:0], l.ready
	for i, t := range l.running {
		l.running[i] = nil
		t.queued = false
		t.calls = 0
		l.current = t
		t.resume()
	}
	l.current = nil
}

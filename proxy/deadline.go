package proxy

import (
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// This file implements deadlines without timers. Setting a deadline on a net.Conn costs a runtime timer each time, and a request needs
// five. Here, arming a deadline is one atomic swap. A sweeper ticks a few times a second; for each deadline that has passed, it sets the
// connection's own deadline to a time in the past. So a deadline fires up to two ticks late, but never early.

// fired is the value of a deadline that has passed and that the sweeper has applied to the connection. 0 means that no deadline is armed.
const fired = -1

var past = time.Unix(1, 0)

// deadlines are the read and the write deadline of one connection, in nanoseconds of the sweeper's clock.
type deadlines struct {
	conn  net.Conn
	mu    sync.Mutex // held while a deadline is applied to the connection, and while that is undone
	read  atomic.Int64
	write atomic.Int64
}

func (d *deadlines) armRead(at int64) {
	if d.read.Swap(at) == fired {
		d.mu.Lock()
		_ = d.conn.SetReadDeadline(time.Time{})
		d.mu.Unlock()
	}
}

func (d *deadlines) armWrite(at int64) {
	if d.write.Swap(at) == fired {
		d.mu.Lock()
		_ = d.conn.SetWriteDeadline(time.Time{})
		d.mu.Unlock()
	}
}

// end fires all armed deadlines.
func (d *deadlines) end() { d.fire(math.MaxInt64) }

// fire applies the deadlines that have passed. If another goroutine arms one at the same time, the compare-and-swap decides: either fire sees the
// new value and leaves it alone, or the other goroutine sees fired and waits for the lock.
func (d *deadlines) fire(now int64) {
	if r := d.read.Load(); r > 0 && r <= now {
		d.mu.Lock()
		if d.read.CompareAndSwap(r, fired) {
			_ = d.conn.SetReadDeadline(past)
		}
		d.mu.Unlock()
	}
	if w := d.write.Load(); w > 0 && w <= now {
		d.mu.Lock()
		if d.write.CompareAndSwap(w, fired) {
			_ = d.conn.SetWriteDeadline(past)
		}
		d.mu.Unlock()
	}
}

// sweeper fires the deadlines of the connections that are registered with it. While there are none, it sleeps, and its clock stops.
type sweeper struct {
	tick   atomic.Int64 // nanoseconds
	start  time.Time
	now    atomic.Int64 // the time of the last tick, relative to start
	onWake func()       // called before the first connection is registered after a sleep

	mu    sync.Mutex
	conns map[*deadlines]struct{} // guarded by mu
	sleep chan struct{}           // guarded by mu; closed to end the sleep; nil while the sweeper ticks
}

// newSweeper starts the clock, but no goroutine.
func newSweeper(onWake func(), timeouts ...time.Duration) *sweeper {
	s := &sweeper{start: time.Now(), onWake: onWake, conns: make(map[*deadlines]struct{})}
	s.now.Store(1)
	s.chooseTick(timeouts...)
	return s
}

// chooseTick chooses a tick of at most an eighth of the shortest timeout.
func (s *sweeper) chooseTick(timeouts ...time.Duration) {
	tick := 250 * time.Millisecond
	for _, t := range timeouts {
		if t > 0 && t/8 < tick {
			tick = max(t/8, 2*time.Millisecond)
		}
	}
	s.tick.Store(int64(tick))
}

// after returns the deadline that is d from now, or 0 if d switches the limit off.
func (s *sweeper) after(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return s.now.Load() + s.tick.Load() + int64(d)
}

func (s *sweeper) add(d *deadlines) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sleep != nil {
		s.advance()
		s.onWake()
		close(s.sleep)
		s.sleep = nil
	}
	s.conns[d] = struct{}{}
}

func (s *sweeper) remove(d *deadlines) {
	s.mu.Lock()
	delete(s.conns, d)
	s.mu.Unlock()
}

// run ticks until stop is closed, and calls each on every tick. each reports whether ticks are needed even without connections.
func (s *sweeper) run(stop <-chan struct{}, each func() (needed bool)) {
	tick := s.tick.Load()
	ticker := time.NewTicker(time.Duration(tick))
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.sweep()
			if sleep := s.sleepUnless(each()); sleep != nil {
				ticker.Stop()
				select {
				case <-stop:
					return
				case <-sleep:
				}
				ticker.Reset(time.Duration(tick))
			}
			if now := s.tick.Load(); now != tick {
				tick = now
				ticker.Reset(time.Duration(tick))
			}
		}
	}
}

// sleepUnless returns a channel that is closed to end the sleep, or nil if the sweeper must not sleep.
func (s *sweeper) sleepUnless(needed bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !needed && len(s.conns) == 0 {
		s.sleep = make(chan struct{})
	}
	return s.sleep
}

// advance sets the sweeper's clock to the current time and returns it.
func (s *sweeper) advance() (now int64) {
	now = int64(time.Since(s.start)) + 1
	s.now.Store(now)
	return now
}

// sweep performs one tick.
func (s *sweeper) sweep() {
	now := s.advance()
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.conns {
		d.fire(now)
	}
}

// closeAll closes all registered connections, to clients and to upstreams.
func (s *sweeper) closeAll() {
	s.mu.Lock()
	conns := make([]net.Conn, 0, len(s.conns))
	for d := range s.conns {
		conns = append(conns, d.conn)
	}
	s.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

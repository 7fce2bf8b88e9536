package proxy

import (
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Deadlines without timers. Arming a deadline of a net.Conn costs a runtime timer each time; a request needs five. Here
// arming is one atomic exchange, and a sweeper that ticks a few times a second puts those connections into the past whose
// deadline is over. A deadline therefore fires up to two ticks late, and never early.

// fired marks a deadline that the sweeper has put into the past. 0 means none is armed.
const fired = -1

var past = time.Unix(1, 0)

// deadlines are the two deadlines of one connection, in nanoseconds of the sweeper's clock.
type deadlines struct {
	conn  net.Conn
	mu    sync.Mutex // held by the sweeper while it fires, and to undo that
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

// end fires both deadlines that are armed.
func (d *deadlines) end() { d.fire(math.MaxInt64) }

// fire puts what is over into the past. The compare-and-swap decides against an arming that happens at the same time:
// either it sees the new value and leaves it, or the arming sees fired and waits for the lock.
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

// sweeper fires the deadlines of the connections registered with it.
type sweeper struct {
	tick  atomic.Int64 // nanoseconds
	start time.Time
	now   atomic.Int64 // the time of the last tick, since start

	mu    sync.Mutex
	conns map[*deadlines]struct{} // guarded by mu
}

// newSweeper starts the clock.
func newSweeper(timeouts ...time.Duration) *sweeper {
	s := &sweeper{start: time.Now(), conns: make(map[*deadlines]struct{})}
	s.now.Store(1)
	s.suit(timeouts...)
	return s
}

// suit chooses a tick that suits the shortest of the timeouts.
func (s *sweeper) suit(timeouts ...time.Duration) {
	tick := 250 * time.Millisecond
	for _, t := range timeouts {
		if t > 0 && t/8 < tick {
			tick = max(t/8, 2*time.Millisecond)
		}
	}
	s.tick.Store(int64(tick))
}

// after is the deadline that lies d ahead, or 0 when d switches the limit off.
func (s *sweeper) after(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return s.now.Load() + s.tick.Load() + int64(d)
}

func (s *sweeper) add(d *deadlines) {
	s.mu.Lock()
	s.conns[d] = struct{}{}
	s.mu.Unlock()
}

func (s *sweeper) remove(d *deadlines) {
	s.mu.Lock()
	delete(s.conns, d)
	s.mu.Unlock()
}

// run ticks until stop is closed. each is called once a tick.
func (s *sweeper) run(stop <-chan struct{}, each func()) {
	tick := s.tick.Load()
	ticker := time.NewTicker(time.Duration(tick))
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.sweep()
			each()
			if now := s.tick.Load(); now != tick {
				tick = now
				ticker.Reset(time.Duration(tick))
			}
		}
	}
}

// sweep is one tick.
func (s *sweeper) sweep() {
	now := int64(time.Since(s.start)) + 1
	s.now.Store(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.conns {
		d.fire(now)
	}
}

// closeAll closes every registered connection, those of clients and those to the upstream.
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

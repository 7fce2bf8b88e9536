package admin

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// places is a listener with room for so many connections at a time; whoever comes besides waits in the kernel's queue. Its
// connections and the traffic's come out of the same descriptors, and the traffic must never run out of them.
type places struct {
	net.Listener
	log    *slog.Logger
	taken  chan struct{} // capacity: the number of places
	once   sync.Once
	closed chan struct{}
	told   time.Time // of the last line about a full house or a failed accept; owned by who accepts
}

const (
	// placesMax is the most connections that one listener of the administration has; fewer where descriptors are few.
	placesMax = 1024
	placesMin = 16
	// tellEvery is the least time between two lines about the same trouble.
	tellEvery = time.Minute
)

// placesFor is the number of places where the process may have so many descriptors: an eighth of them.
func placesFor(descriptors uint64) int { return int(min(max(descriptors/8, placesMin), placesMax)) } //nolint:gosec // bounded

func newPlaces(ln net.Listener, log *slog.Logger) *places {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		limit.Cur = 0
	}
	return &places{Listener: ln, log: log, taken: make(chan struct{}, placesFor(limit.Cur)), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (p *places) Accept() (net.Conn, error) { return p.accept() }

// accept waits for a place and for a connection that takes it.
func (p *places) accept() (*placed, error) {
	select {
	case p.taken <- struct{}{}:
	default:
		if p.mayTell() {
			p.log.Warn("the admin listener has all the connections that it may have; others wait", "address", p.Addr().String(), "at_most", cap(p.taken))
		}
		select {
		case p.taken <- struct{}{}:
		case <-p.closed:
			return nil, net.ErrClosed
		}
	}
	conn, err := p.Listener.Accept()
	if err != nil {
		<-p.taken
		return nil, err //nolint:wrapcheck // as the listener's own
	}
	return &placed{Conn: conn, place: &place{of: p}}, nil
}

// mayTell keeps trouble that goes on from filling the log.
func (p *places) mayTell() bool {
	now := time.Now()
	if !p.told.IsZero() && now.Sub(p.told) < tellEvery {
		return false
	}
	p.told = now
	return true
}

// Close implements net.Listener.
func (p *places) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Listener.Close() //nolint:wrapcheck // as the listener's own
}

// place is what a connection takes up until it is freed, which may be more than once.
type place struct {
	of   *places
	once sync.Once
}

func (p *place) free() { p.once.Do(func() { <-p.of.taken }) }

// placed is a connection that frees its place when it is closed.
type placed struct {
	net.Conn
	place *place
}

// Close implements net.Conn.
func (c *placed) Close() error {
	defer c.place.free()
	return c.Conn.Close() //nolint:wrapcheck // as the connection's own
}

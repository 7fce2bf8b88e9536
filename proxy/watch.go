package proxy

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/proxy/loop"
)

// This file detects clients that disconnect while the upstream is working on their request. Nothing reads from such a connection at that
// time, and a goroutine or a system call per request would be too expensive. Instead, one poll(2) per tick checks all connections that
// are waiting for the upstream. If two consecutive ticks find that a client has half-closed its connection and that nothing is left to
// read, the client counts as disconnected: the upstream connection is closed, and the exchange records 499. So a client that only
// half-closes after its request receives the response only if that arrives within a tick. nginx and Go's server treat such a client as
// disconnected immediately.

// watch finds clients that have disconnected. It belongs to the sweeper's goroutine.
type watch struct {
	conns []*clientConn
	fds   []unix.PollFd
}

// clientWatch tracks whether the client of one connection is still connected. While an exchange waits for a response on an
// upstream connection, it hands that connection to the clientWatch. Any code that detects that the client has disconnected may
// close the upstream connection. That connection is either taken back or closed, never both.
type clientWatch struct {
	socket
	stream    *h2Stream  // the connection as an HTTP/2 stream; nil if it is not one
	loop      *loop.Conn // the connection as a connection of an event loop; nil if it is not one
	encrypted bool

	waiting   atomic.Pointer[upstreamConn] // the upstream connection for which the exchange is waiting
	gone      atomic.Bool                  // the client has been found to have disconnected
	suspected bool                         // owned by the sweeper's watch: the connection looked closed at the last tick
	stirred   bool                         // on an event loop: bytes, the end or an error arrived while the exchange was waiting
	stir      func()                       // sets stirred
}

// await announces that the exchange is waiting for u. Until takeBack is called, u may be closed.
func (w *clientWatch) await(u *upstreamConn) {
	w.waiting.Store(u)
	if w.loop != nil {
		if w.stir == nil {
			w.stir = func() { w.stirred = true }
		}
		w.stirred = false
		w.loop.OnReady(w.stir)
	}
	if w.stream != nil && w.stream.isGone() {
		w.cancel() // the stream was reset before u was announced
	}
}

// takeBack takes back the upstream connection. It reports whether the connection has been left open.
func (w *clientWatch) takeBack() bool { return w.waiting.Swap(nil) != nil }

// cancel closes the upstream connection, unless the exchange has taken it back.
func (w *clientWatch) cancel() {
	if u := w.waiting.Load(); u != nil && w.waiting.CompareAndSwap(u, nil) {
		w.gone.Store(true)
		_ = u.Conn.Close()
	}
}

// hasReset reports whether the client has reset its connection, so that nothing that is written now can arrive. An event loop records in
// stirred whether anything has happened, so most calls need no system call.
func (w *clientWatch) hasReset() bool {
	if w.loop != nil && !w.stirred {
		return false
	}
	return w.hungUp()
}

// hungUp reports whether both directions of the connection are closed.
func (w *clientWatch) hungUp() bool {
	if w.stream != nil {
		return w.stream.isGone()
	}
	return w.socket.hungUp()
}

// leaves reports whether the client has disconnected while its request is waiting for an upstream connection. It is called from time to
// time, and applies the same rule as the watch: a client has disconnected if it has reset the connection, or if two consecutive calls
// find the connection half-closed.
func (w *clientWatch) leaves(suspected *bool) bool {
	was := *suspected
	*suspected = w.left(w.encrypted)
	return *suspected && was || w.hungUp()
}

// check is called on every tick.
func (w *watch) check(p *Proxy) {
	w.conns, w.fds = w.conns[:0], w.fds[:0]
	p.mu.Lock()
	for c := range p.conns {
		if c.watch.waiting.Load() != nil && c.watch.known() {
			w.conns = append(w.conns, c)
			w.fds = append(w.fds, unix.PollFd{Fd: int32(c.watch.fd), Events: unix.POLLRDHUP})
		}
	}
	p.mu.Unlock()
	if len(w.fds) == 0 {
		return
	}
	n, err := unix.Poll(w.fds, 0)
	for i, c := range w.conns {
		w.conns[i] = nil
		if err != nil || n == 0 || w.fds[i].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) == 0 {
			c.watch.suspected = false
			continue
		}
		// The descriptor may have been closed and reused since it was listed. Check again through RawConn, which prevents that.
		switch {
		case !c.watch.left(c.watch.encrypted):
			c.watch.suspected = false
		case !c.watch.suspected:
			c.watch.suspected = true
		default:
			c.watch.cancel()
		}
	}
}

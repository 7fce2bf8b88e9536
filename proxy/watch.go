package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/proxy/loop"
)

// Clients that leave while the upstream works on their request. Nothing reads from such a connection at that time, and a goroutine or
// a system call per request would be too expensive. Instead, one poll(2) per tick checks all connections that wait for the upstream.
// If a client has closed its side at two successive ticks and nothing is left to read, it counts as gone: the upstream connection is
// closed, and the exchange records 499. So a client that only half-closes after its request receives the answer if it comes within a
// tick, and none otherwise. nginx and Go's server behave in the same way.

// watch finds clients that have left. It belongs to the sweeper's goroutine.
type watch struct {
	conns []*clientConn
	fds   []unix.PollFd
}

// awaitUpstream announces that the exchange waits for u. Until takeBack, the watch may close u.
func (c *clientConn) awaitUpstream(u *upstreamConn) {
	c.waiting.Store(u)
	if conn, ok := c.Conn.(*loop.Conn); ok {
		if c.stir == nil {
			c.stir = func() { c.stirred = true }
		}
		c.stirred = false
		conn.OnReady(c.stir)
	}
	if c.stream != nil && c.stream.isGone() {
		c.cancelUpstream() // the stream was reset before there was anything to cancel
	}
}

// takeBack takes the upstream connection back from the watch. It reports whether the watch has left it open.
func (c *clientConn) takeBack() bool { return c.waiting.Swap(nil) != nil }

// check is called once a tick.
func (w *watch) check(p *Proxy) {
	w.conns, w.fds = w.conns[:0], w.fds[:0]
	p.mu.Lock()
	for c := range p.conns {
		if c.waiting.Load() != nil && c.fd >= 0 {
			w.conns = append(w.conns, c)
			w.fds = append(w.fds, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLRDHUP})
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
			c.suspected = false
			continue
		}
		// The descriptor may have been closed and reused since it was listed. Check again through RawConn, which prevents this.
		switch {
		case !c.hasLeft():
			c.suspected = false
		case !c.suspected:
			c.suspected = true
		default:
			c.cancelUpstream()
		}
	}
}

// hasLeft reports whether the client has closed its side and everything that it sent has been read.
func (c *clientConn) hasLeft() bool {
	left := false
	err := c.raw.Control(func(fd uintptr) {
		var b [2 * alertBytesMax]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		left = n == 0 && err == nil || err == unix.ECONNRESET || err == unix.EPIPE || err == unix.ETIMEDOUT
		if n > 0 && err == nil && c.tlsVersion != 0 && isAlert(b[:n]) {
			fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			n, err := unix.Poll(fds[:], 0)
			left = n > 0 && err == nil && fds[0].Revents&unix.POLLRDHUP != 0
		}
	})
	return err == nil && left
}

// alertBytesMax is the length of the longest TLS record that an alert makes, with its header.
const alertBytesMax = 64

// isAlert reports whether the bytes that a client has sent last can be the alert with which TLS ends. TLS 1.3 hides the type of a record, so
// its length must do: the record may also carry a byte or two, which make no request.
func isAlert(b []byte) bool {
	const header, alert, applicationData, hiddenAlert = 5, 21, 23, 2 + 1 + 16
	if len(b) < header || len(b) > alertBytesMax || int(b[3])<<8|int(b[4]) != len(b)-header {
		return false
	}
	return b[0] == alert || b[0] == applicationData && len(b)-header <= hiddenAlert
}

// hasReset reports whether the client has reset its connection, so that nothing that is written now can arrive. A loop knows of most
// connections that nothing has happened. For the others, this costs a system call.
func (c *clientConn) hasReset() bool {
	if _, ok := c.Conn.(*loop.Conn); ok && !c.stirred {
		return false
	}
	return c.hungUp()
}

// hungUp reports whether both directions of the connection are closed.
func (c *clientConn) hungUp() bool {
	if c.stream != nil {
		return c.stream.isGone()
	}
	if c.fd < 0 {
		return false
	}
	fds := [1]unix.PollFd{{Fd: int32(c.fd)}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 && err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// leaves reports whether the client has left while its request waits for an upstream connection. It is called from time to time, and
// follows the rule of the watch: a client that has closed its side at two successive calls has left, and one that has reset the
// connection has left at once.
func (c *clientConn) leaves(suspected *bool) bool {
	was := *suspected
	*suspected = c.raw != nil && c.hasLeft()
	return *suspected && was || c.hungUp()
}

// cancelUpstream closes the upstream connection, unless the exchange has taken it back.
func (c *clientConn) cancelUpstream() {
	if u := c.waiting.Load(); u != nil && c.waiting.CompareAndSwap(u, nil) {
		c.clientGone.Store(true)
		_ = u.Conn.Close()
	}
}

// descriptor returns the raw connection and the number of its descriptor, or -1 if it has none.
func descriptor(conn net.Conn) (raw syscall.RawConn, fd int) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, -1
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, -1
	}
	fd = -1
	_ = raw.Control(func(n uintptr) { fd = int(n) })
	return raw, fd
}

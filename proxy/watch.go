package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// A client that leaves while the upstream works on its request is noticed here: nobody reads from its connection at that time,
// and a goroutine or a system call per request would cost every request for the sake of a few. Once a tick, one poll(2) looks
// at all connections that wait for the upstream. A client that has closed its side in two successive ticks, with nothing left
// to read, is gone: the upstream connection is closed, and the exchange records 499. A client that only half-closes after its
// request is therefore answered if the answer comes within a tick, and given up otherwise, as nginx and Go's server do.

// watch is the part of the sweeper's tick that looks for clients that have left. It belongs to the sweeper's goroutine.
type watch struct {
	conns []*clientConn
	fds   []unix.PollFd
}

// await announces that the exchange waits for u. From here to the next claim the watch may close u.
func (c *clientConn) await(u *upstreamConn) { c.waiting.Store(u) }

// claim takes the upstream connection back from the watch. It reports whether the connection is still good.
func (c *clientConn) claim() bool { return c.waiting.Swap(nil) != nil }

// look is one tick.
func (w *watch) look(p *Proxy) {
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
		// The descriptor may have been closed and given away since it was listed: look again, holding it.
		switch {
		case !c.hasLeft():
			c.suspected = false
		case !c.suspected:
			c.suspected = true
		default:
			c.giveUp()
		}
	}
}

// hasLeft reports whether the peer has closed its side and everything it sent has been read.
func (c *clientConn) hasLeft() bool {
	left := false
	err := c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		left = n == 0 && err == nil || err == unix.ECONNRESET || err == unix.EPIPE || err == unix.ETIMEDOUT
	})
	return err == nil && left
}

// giveUp closes the upstream connection, unless the exchange has just got its response from it.
func (c *clientConn) giveUp() {
	if u := c.waiting.Load(); u != nil && c.waiting.CompareAndSwap(u, nil) {
		c.gone.Store(true)
		_ = u.Conn.Close()
	}
}

// descriptor gives the connection's raw form and the number of its descriptor, -1 where it has none.
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

package proxy

import (
	"bufio"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/proxy/loop"
)

// upstreamConn is one keep-alive connection to the upstream. It belongs to the exchange that took it out of the pool.
type upstreamConn struct {
	net.Conn
	driver    driver // of the exchanges that may use it
	br        *bufio.Reader
	limits    deadlines
	addr      netip.Addr // of the upstream, invalid for a unix socket
	dedicated bool       // dialled for one upgrade, never in the pool
	from      *account   // the address whose client uses it; nil: none. Guarded by the pool's mu
	reused    bool       // has carried a complete response
	broken    bool       // it cannot be used again
	pinned    bool       // the upstream may have authenticated it: only one client may use it
	idleAt    int64      // sweeper time at which it became idle
	raw       syscall.RawConn
	alive     bool // result of the last peek
	peek      func(fd uintptr) bool
	ack       func(fd uintptr) // nil: not TCP
}

// Read lets the bufio.Reader read from the connection.
func (u *upstreamConn) Read(b []byte) (int, error) { return u.Conn.Read(b) }

func (p *pool) connect(d driver) (*upstreamConn, error) {
	conn, err := d.dial(p.target)
	if err != nil {
		p.figures.connectErrors.Add(1)
		return nil, err
	}
	p.figures.connects.Add(1)
	u := &upstreamConn{Conn: conn, driver: d}
	u.addr, _ = peerAddr(conn)
	u.limits.conn = conn
	u.br = bufio.NewReaderSize(conn, p.readSize)
	if sc, ok := conn.(syscall.Conn); ok {
		u.raw, _ = sc.SyscallConn()
		u.peek = u.peekOnce
		if _, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			u.ack = setQuickAck
		}
	}
	p.sweeper.add(&u.limits)
	return u, nil
}

// redial replaces a connection with a new one in the same slot.
func (p *pool) redial(u *upstreamConn) (*upstreamConn, error) {
	p.sweeper.remove(&u.limits)
	_ = u.Conn.Close()
	return p.dialSlot(u.driver, u.from)
}

// usable reports whether the upstream has neither closed a connection nor sent unexpected bytes, which would be taken for the
// response to the next request. This costs a system call for each request. Without it, a single superfluous response would shift
// all later ones: each client would receive the response of another.
func (p *pool) usable(u *upstreamConn) bool {
	idle := time.Duration(p.sweeper.now.Load() - u.idleAt)
	if p.idleFor > 0 && idle > p.idleFor {
		return false
	}
	u.limits.armRead(0)
	switch conn := u.Conn.(type) {
	case *loop.Conn:
		return conn.Quiet()
	case *tlsConn:
		return conn.Quiet()
	}
	if u.raw == nil {
		return true
	}
	u.alive = false
	return u.raw.Read(u.peek) == nil && u.alive
}

// peekOnce sets alive if there is nothing to read: neither a close nor unexpected bytes.
func (u *upstreamConn) peekOnce(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	u.alive = err == syscall.EAGAIN || err == syscall.EINTR
	return true
}

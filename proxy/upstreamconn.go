package proxy

import (
	"bufio"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/proxy/loop"
)

// upstreamConn is a keep-alive connection to the upstream, or a request on a shared connection. It belongs to the exchange that took it out
// of the pool.
type upstreamConn struct {
	net.Conn
	driver    driver // the driver of the exchanges that may use it
	br        *bufio.Reader
	call      *h2Call // equal to Conn for a request on a shared connection; nil for a connection
	limits    deadlines
	addr      netip.Addr // address of the upstream; invalid for a Unix socket
	dedicated bool       // dialed for a single upgrade, and never in the pool
	from      *account   // account of the client that is using it; nil if there is none. Guarded by the pool's mu
	reused    bool       // has already carried a complete response
	atOnce    bool       // was idle and usable when it was requested, so the request did not wait for it
	broken    bool       // it cannot be used again
	pinned    bool       // the upstream may have authenticated it: only one client may use it
	idleAt    int64      // sweeper time at which it became idle
	raw       syscall.RawConn
	alive     bool // result of the last peekOnce
	peek      func(fd uintptr) bool
	ack       func(fd uintptr) // nil if the connection does not use TCP
}

// Read lets the bufio.Reader read from the connection.
func (u *upstreamConn) Read(b []byte) (int, error) { return u.Conn.Read(b) }

// connect returns a new connection, or a request on a shared one. The client may be nil.
func (p *pool) connect(d driver, client *clientConn) (*upstreamConn, error) {
	if p.h2 != nil {
		if u, err := p.h2.open(d, client); u != nil || err != nil {
			return u, err
		}
	}
	u, err := p.dial(d, p.target)
	if err == nil && p.h2 != nil { // the server may now speak HTTP/2
		return p.h2.adopt(u, client), nil
	}
	if err == nil {
		u.buffer(p.readSize)
	}
	return u, err
}

// connOf returns a request on a shared connection. reused means that the connection existed before.
func (p *pool) connOf(call *h2Call, reused bool) *upstreamConn {
	u := &upstreamConn{Conn: call, call: call, driver: call.driver, addr: call.l.addr, reused: reused}
	u.limits.conn = call
	u.buffer(p.readSize)
	p.sweeper.add(&u.limits)
	return u
}

// callReaders contains *bufio.Readers of size upstreamReadBytes.
var callReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, upstreamReadBytes) }}

// buffer gives the connection a reader with a buffer.
func (u *upstreamConn) buffer(size int) {
	if u.call == nil || size != upstreamReadBytes {
		u.br = bufio.NewReaderSize(u.Conn, size)
		return
	}
	u.br = callReaders.Get().(*bufio.Reader)
	u.br.Reset(u.Conn)
}

// unbuffer returns the reader to callReaders when the request has ended.
func (u *upstreamConn) unbuffer() {
	if u.call != nil && u.br != nil && u.br.Size() == upstreamReadBytes {
		u.br.Reset(nil)
		callReaders.Put(u.br)
		u.br = nil
	}
}

// dial establishes a connection.
func (p *pool) dial(d driver, to *target) (*upstreamConn, error) {
	conn, err := d.dial(to)
	if err != nil {
		p.figures.connectErrors.Add(1)
		return nil, err
	}
	p.figures.connects.Add(1)
	u := &upstreamConn{Conn: conn, driver: d}
	u.addr, _ = peerAddr(conn)
	u.limits.conn = conn
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
	u.unbuffer()
	var client *clientConn
	if u.call != nil {
		client = u.call.client
	}
	return p.dialSlot(u.driver, u.from, client)
}

// usable reports whether the upstream has neither closed a connection nor sent unexpected bytes, which would be mistaken for the response
// to the next request. This costs one system call per request. Without it, a single extra response would shift all later ones: each
// client would receive another client's response.
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

// peekOnce sets alive to whether there is nothing to read: neither the end of the connection nor unexpected bytes.
func (u *upstreamConn) peekOnce(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	u.alive = err == syscall.EAGAIN || err == syscall.EINTR
	return true
}

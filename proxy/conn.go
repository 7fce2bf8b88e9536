package proxy

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// phase is where a client connection is in its requests.
type phase uint32

const (
	phaseNew    phase = iota // accepted, no byte read yet
	phaseIdle                // between requests; may be closed by a shutdown
	phaseHeader              // the first bytes of a request have been read
	phaseBody                // in the handler, or writing the response
	phaseClosed
)

// clientConn wraps an accepted connection: it sets the deadlines that belong to the phase, keeps what is the same for all
// requests of the connection, and holds the state of the request in progress. Except where noted, its fields belong to
// the goroutine that serves the connection.
type clientConn struct {
	net.Conn // the accepted connection
	root     *Proxy
	p        *lane // the lane current when the request began
	phase    atomic.Uint32
	limits   deadlines
	failed   atomic.Bool // a read or write ended in an error: the connection is over

	headerBy int64 // deadline of the request header being read
	muted    bool  // writes are swallowed: the answer has been written already, or none is due
	reset    bool  // closed with a reset, so that the client can tell that the body is cut short

	client    []byte // address as it is recorded
	trusted   bool   // the peer may set forwarding fields
	forwarded []byte // field lines that are the same for all requests: Proto, Port, Via
	address   []byte // the peer's address for X-Forwarded-For

	x    exchange
	loan *[]byte // large body buffer, returned at the next read
	once sync.Once
}

var errClosing = errors.New("proxy: connection is being closed")

// newClientConn wraps conn. It registers nothing: the listener does.
func newClientConn(p *lane, conn net.Conn) *clientConn {
	c := &clientConn{Conn: conn, root: p.Proxy}
	c.limits.conn = conn
	c.x.c = c
	c.drive(p)
	return c
}

// drive puts the connection into a lane and works out what is the same for all its requests there.
func (c *clientConn) drive(p *lane) {
	conn := c.Conn
	c.p = p
	addr, ok := peerAddr(conn)
	c.address, c.trusted, c.forwarded = nil, false, nil
	if ok {
		c.address = addr.AppendTo(nil)
		c.trusted = p.trusts(addr)
	}
	c.client = clientField(p.o.ClientAddress, addr, ok)
	c.forwarded = append(c.forwarded, "X-Forwarded-Proto: http\r\n"...)
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		c.forwarded = append(c.forwarded, "X-Forwarded-Port: "...)
		c.forwarded = strconv.AppendInt(c.forwarded, int64(local.Port), 10)
		c.forwarded = append(c.forwarded, '\r', '\n')
	}
}

func peerAddr(conn net.Conn) (netip.Addr, bool) {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		addr := tcp.AddrPort().Addr().Unmap().WithZone("")
		return addr, addr.IsValid()
	}
	return netip.Addr{}, false
}

// clientField is a client's address as it may be stored.
func clientField(mode ClientAddress, addr netip.Addr, ok bool) []byte {
	if !ok || mode == ClientOff {
		return nil
	}
	if mode == ClientMasked {
		bits := 48
		if addr.Is4() {
			bits = 24
		}
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return nil
		}
		addr = prefix.Addr()
	}
	return addr.AppendTo(nil)
}

func (p *lane) trusts(addr netip.Addr) bool {
	for _, prefix := range p.o.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Read reads under the deadline of the phase and moves the phase on when a request begins.
func (c *clientConn) Read(b []byte) (int, error) {
	c.returnLoan()
	o, s := &c.p.o, c.p.sweeper
	ph := phase(c.phase.Load())
	switch ph {
	case phaseNew:
		c.limits.armRead(s.after(o.HeaderTimeout))
	case phaseIdle:
		c.limits.armRead(s.after(o.IdleTimeout))
	case phaseHeader:
		c.limits.armRead(c.headerBy)
	case phaseBody:
		c.limits.armRead(s.after(o.ReadTimeout))
	case phaseClosed:
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(b)
	if n > 0 && (ph == phaseNew || ph == phaseIdle) {
		c.headerBy = s.after(o.HeaderTimeout)
		if !c.phase.CompareAndSwap(uint32(ph), uint32(phaseHeader)) {
			return 0, net.ErrClosed // a shutdown closed the idle connection first
		}
	}
	if err != nil {
		c.failed.Store(true)
	}
	return n, err
}

// Write writes under the write deadline, which starts anew with each call: it limits the time without progress.
func (c *clientConn) Write(b []byte) (int, error) {
	if c.muted {
		return len(b), nil
	}
	c.limits.armWrite(c.p.sweeper.after(c.p.o.WriteTimeout))
	n, err := c.Conn.Write(b)
	if err != nil {
		c.failed.Store(true)
	}
	return n, err
}

// enter marks the beginning of the handler, leave its end; leave is also the moment from which a shutdown may close the
// connection once it is read from again.
func (c *clientConn) enter() { c.phase.Store(uint32(phaseBody)) }

func (c *clientConn) leave() { c.phase.CompareAndSwap(uint32(phaseBody), uint32(phaseIdle)) }

// Close closes the connection. A shutdown of fasthttp closes connections it takes for idle; one whose next request has
// just arrived is spared, so that the request is answered.
func (c *clientConn) Close() error {
	if c.root.closing.Load() && !c.failed.Load() {
		ph := phase(c.phase.Load())
		if ph == phaseHeader || ph == phaseBody {
			return errClosing
		}
	}
	return c.kill()
}

// kill closes the connection whatever its phase.
func (c *clientConn) kill() error {
	err := net.ErrClosed
	c.once.Do(func() {
		c.phase.Store(uint32(phaseClosed))
		c.root.sweeper.remove(&c.limits)
		c.root.forget(c)
		if tcp, ok := c.Conn.(*net.TCPConn); ok && c.reset {
			_ = tcp.SetLinger(0)
		}
		err = c.Conn.Close()
	})
	return err
}

// SetDeadline, SetReadDeadline and SetWriteDeadline do nothing: the phase decides.
func (c *clientConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (c *clientConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (c *clientConn) SetWriteDeadline(time.Time) error { return nil }

// borrow gives a buffer of n bytes that is valid until the response has been written.
func (c *clientConn) borrow(n int) []byte {
	if n <= scratchBytesKept {
		if cap(c.x.body) < n {
			c.x.body = make([]byte, max(n, 1024))
		}
		return c.x.body[:n]
	}
	c.returnLoan()
	c.loan = bodyBuffers.Get().(*[]byte)
	return (*c.loan)[:n]
}

// bodyBuffers holds *[]byte of bufferedBodyBytesMax.
var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, bufferedBodyBytesMax); return &b }}

func (c *clientConn) returnLoan() {
	if c.loan != nil {
		bodyBuffers.Put(c.loan)
		c.loan = nil
	}
}

// listener wraps what it accepts in clientConns.
type listener struct {
	net.Listener
	p *Proxy
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := newClientConn(l.p.lane.Load(), conn)
	l.p.remember(c)
	l.p.sweeper.add(&c.limits)
	return c, nil
}

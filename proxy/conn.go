package proxy

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// phase is where a client connection is in its requests.
type phase uint32

const (
	phaseNew    phase = iota // accepted, no byte read yet
	phaseIdle                // between requests; may be closed by a shutdown
	phaseHeader              // the first bytes of a request have been read
	phaseBody                // in the handler
	phaseTunnel              // a byte tunnel, which sets its deadlines itself
	phaseLinger              // the last response has been written; may be closed by a shutdown
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

	br       *bufio.Reader // what was read beyond the message in progress stays in it
	headerBy int64         // deadline of the request header being read
	lingerBy int64         // deadline of a lingering close
	reset    bool          // closed with a reset, so that the client can tell that the body is cut short
	late     atomic.Bool   // the client has let a write, or the time between requests, run out

	addr      netip.Addr  // the peer's, invalid if it has none
	key       netip.Addr  // that the connection is counted under
	account   *account    // that its connections are counted in; nil: none
	admitted  bool        // guarded by Proxy.mu
	displaced bool        // guarded by Proxy.mu
	held      int64       // bytes that are counted, see hold
	reading   patience    // with the client as it sends
	writing   patience    // and as it receives
	answered  atomic.Bool // it has had a response
	accepted  time.Time   // when
	gaveWay   atomic.Bool
	quiet     time.Time // likewise: since when a shutdown finds it between requests
	pace      pace      // of the request's body; belongs to whoever reads it

	raw       syscall.RawConn
	fd        int                          // its descriptor's number, -1 if none; only to be looked at, see watch.go
	waiting   atomic.Pointer[upstreamConn] // shared with the watch: the upstream connection that the exchange waits for
	suspected bool                         // owned by the watch: seemed gone in the last tick
	gone      atomic.Bool                  // the watch has found that the client has left

	login     atomic.Pointer[upstreamConn] // kept for this client between its requests, see login.go; nil: none
	loginPool *pool                        // of login; written before it

	client    []byte // address as it is recorded
	trusted   bool   // the peer may set forwarding fields
	forwarded []byte // field lines that are the same for all requests: Proto, Port, Via
	element   []byte // the peer as a Forwarded element names it
	address   []byte // the peer's address for X-Forwarded-For

	x       exchange
	bufs    [3][]byte   // for writeAll
	sending net.Buffers // likewise
	once    sync.Once
}

// newClientConn wraps conn. It registers nothing: the listener does.
func newClientConn(p *lane, conn net.Conn) *clientConn {
	c := &clientConn{Conn: conn, root: p.Proxy, accepted: time.Now()}
	c.limits.conn = conn
	c.x.c = c
	c.x.stream.arm = c.x.flushAndArm
	c.raw, c.fd = descriptor(conn)
	c.drive(p)
	return c
}

// drive puts the connection into a lane and works out what is the same for all its requests there.
func (c *clientConn) drive(p *lane) {
	conn := c.Conn
	c.p = p
	addr, ok := peerAddr(conn)
	c.addr = addr
	c.address, c.trusted, c.forwarded = nil, false, nil
	if ok {
		c.address = addr.AppendTo(nil)
		c.trusted = p.trusts(addr)
	}
	c.client = clientField(p.o.ClientAddress, addr, ok)
	c.element = appendForElement(c.element[:0], addr, ok)
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
		return c.readPaced(b)
	case phaseTunnel:
	case phaseLinger:
		c.limits.armRead(c.lingerBy)
	case phaseClosed:
		return 0, net.ErrClosed
	}
	n, err := c.readPatiently(b)
	if n > 0 && (ph == phaseNew || ph == phaseIdle) {
		c.reading.waited.Store(0)
		c.writing.waited.Store(0)
		c.headerBy = s.after(o.HeaderTimeout)
		if !c.phase.CompareAndSwap(uint32(ph), uint32(phaseHeader)) {
			return 0, net.ErrClosed // a shutdown closed the idle connection first
		}
	}
	if err != nil {
		c.late.Store(ph == phaseIdle && isTimeout(err))
		c.failed.Store(true)
	}
	return n, err
}

// readPatiently counts how long the client lets the proxy wait.
func (c *clientConn) readPatiently(b []byte) (int, error) {
	if c.gaveWay.Load() {
		return 0, os.ErrDeadlineExceeded // it came to itself again, too late
	}
	now := &c.root.sweeper.now
	c.reading.begin(now.Load())
	n, err := c.Conn.Read(b)
	c.reading.end(now.Load(), n)
	return n, err
}

// readPaced reads a piece of a request's body: under the limit for silence, and under the one for the average.
func (c *clientConn) readPaced(b []byte) (int, error) {
	o, s := &c.p.o, c.p.sweeper
	at := s.after(o.ReadTimeout)
	if o.MinBodyRate > 0 && o.ReadTimeout > 0 {
		at = min(at, c.pace.deadline(s, o.MinBodyRate, int64(o.ReadTimeout)))
	}
	c.limits.armRead(at)
	began := s.now.Load()
	n, err := c.readPatiently(b)
	if err != nil && isTimeout(err) && c.limits.read.Load() == fired && c.unreadBytes() { // this process was late, not the client
		c.limits.armRead(s.after(o.ReadTimeout))
		n, err = c.readPatiently(b)
	}
	c.pace.waited += s.now.Load() - began
	c.pace.read += int64(n)
	if err != nil {
		c.failed.Store(true)
	}
	return n, err
}

// Write writes under the write deadline, which starts anew with each call: it limits the time without progress.
func (c *clientConn) Write(b []byte) (int, error) {
	c.limits.armWrite(c.p.sweeper.after(c.p.o.WriteTimeout))
	c.writing.begin(c.p.sweeper.now.Load())
	n, err := c.Conn.Write(b)
	c.writing.end(c.p.sweeper.now.Load(), n)
	if err != nil {
		c.writeFailed(err)
	}
	return n, err
}

func (c *clientConn) writeFailed(err error) {
	c.late.Store(isTimeout(err))
	c.failed.Store(true)
}

// Close closes the connection whatever its phase. What a client does not take goes with it: the kernel would keep it for minutes, and a
// memory cgroup of version 2 counts it.
func (c *clientConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		c.phase.Store(uint32(phaseClosed))
		c.root.sweeper.remove(&c.limits)
		c.root.forget(c)
		c.dropLogin()
		if tcp, ok := c.Conn.(*net.TCPConn); ok && (c.reset || (c.late.Load() || c.gaveWay.Load()) && c.unsentBytes()) {
			_ = tcp.SetLinger(0)
		}
		err = c.Conn.Close()
	})
	return err
}

// bodyBuffers holds *[]byte with room for a response's header and bufferedBodyBytesMax of body.
var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, bufferedBodyBytesMax+4096); return &b }}

// listener wraps what it accepts in clientConns.
type listener struct {
	net.Listener
	p *Proxy
}

func (l listener) accept() (*clientConn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := newClientConn(l.p.lane.Load(), conn)
	l.p.remember(c)
	l.p.sweeper.add(&c.limits)
	return c, nil
}

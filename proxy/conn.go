package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/loop"
)

// phase is what a client connection is currently doing.
type phase uint32

const (
	phaseNew     phase = iota // accepted, but no byte has been read yet
	phaseIdle                 // between requests; may be closed by a shutdown
	phaseHeader               // the first bytes of a request have been read
	phaseBody                 // a request is being handled
	phaseStreams              // HTTP/2: streams are open, or one is about to be
	phaseTunnel               // upgraded; the tunnel arms its own deadlines
	phaseLinger               // the last response has been written; may be closed by a shutdown
	phaseClosed
)

// clientConn wraps an accepted connection. It arms the deadlines for each phase, and keeps the values that are the same for all requests on the
// connection. Unless a field's comment says otherwise, the field belongs to the goroutine or task that serves the connection.
type clientConn struct {
	net.Conn // the accepted connection
	driver   driver
	kind     listenerKind // kind of the listener that accepted it
	root     *Proxy
	gen      *generation // the generation that was current when the request began
	phase    atomic.Uint32
	limits   deadlines
	failed   atomic.Bool // a read or write has failed: the connection must end

	br             *bufio.Reader // keeps the bytes that were read beyond the current message; nil while parked
	headerDeadline int64         // deadline of the request header that is being read
	lingerDeadline int64         // deadline of a lingering close
	emptyLines     int           // number of empty lines skipped since the last request
	reset          bool          // close with a reset, because only that shows the client that the body is incomplete
	timedOut       atomic.Bool   // a write, or the time between two requests, has reached its deadline

	addr  netip.Addr // the peer's address; invalid if it has none
	share share
	clientWaits
	answered  atomic.Bool // the client has received a response
	accepted  time.Time   // when the connection was accepted
	gaveWay   atomic.Bool
	idleSince time.Time // guarded by Proxy.mu; when a shutdown first found the connection between requests
	pace      pace      // limits how slowly the request's body may arrive; belongs to the goroutine that reads the body

	unprompted atomic.Bool // the client may be waiting for 100 Continue before it sends the body, so its silence does not count

	watch  clientWatch
	pinned pinned

	headerDue bool       // a PROXY header must arrive first; see proxyheader.go
	source    netip.Addr // source address in the PROXY header; invalid if there was none
	port      uint16     // port in the PROXY header to which the client connected

	tlsVersion uint16  // 0 if the connection is cleartext or there has been no handshake yet
	refusal    failure // the failure with which every request is refused; failNone if requests are served

	client []byte     // the address as it is recorded
	peer   http1.Peer // describes the peer for the forwarding of its requests

	h2     *h2Conn   // written under Proxy.mu; nil if the connection speaks HTTP/1.1
	stream *h2Stream // the same as Conn if this is an HTTP/2 stream; nil if it is a connection

	x      *exchange // the request in progress; nil while parked
	parked bool      // the deadline and c.reading are running although nothing reads; see park
	unpark func()    // resumes serving
	once   sync.Once
}

// newClientConn wraps conn. The caller must register the result.
func newClientConn(p *generation, conn net.Conn, d driver, kind listenerKind) *clientConn {
	c := &clientConn{Conn: conn, driver: d, kind: kind, root: p.Proxy, accepted: time.Now()}
	c.limits.conn = conn // the connection below TLS
	c.watch.socket = socketOf(conn)
	c.watch.loop, _ = conn.(*loop.Conn)
	c.share.total, c.share.silent = &p.held, &p.silent
	if kind == listenerTLS {
		c.Conn = newClientTLS(conn, p.o.TLS.Config())
	}
	if len(p.o.ProxyProtocol) > 0 {
		addr, ok := peerAddr(conn)
		c.headerDue = ok && contains(p.o.ProxyProtocol, addr)
	}
	c.useGeneration(p)
	return c
}

// useGeneration switches the connection to a generation, and prepares the values that are the same for all its requests.
func (c *clientConn) useGeneration(p *generation) {
	conn := c.Conn
	c.gen = p
	addr, ok := peerAddr(conn)
	if c.source.IsValid() {
		addr, ok = c.source, true
	}
	c.addr = addr
	c.client = appendClient(nil, p.o.ClientAddress, addr)
	c.peer = http1.Peer{Element: appendForElement(nil, addr, ok), Forwarded: []byte("X-Forwarded-Proto: http\r\n"), Name: c.peer.Name}
	if c.kind == listenerTLS {
		c.peer.TLS, c.peer.Forwarded = true, []byte("X-Forwarded-Proto: https\r\n")
	}
	if ok {
		c.peer.Address, c.peer.Trusted = addr.AppendTo(nil), p.trusts(addr)
	}
	c.share.trusted, c.share.bytesMax = c.peer.Trusted, p.o.MaxHeldBytes
	port := int(c.port)
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok && port == 0 {
		port = local.Port
	}
	if port != 0 {
		c.peer.Forwarded = fmt.Appendf(c.peer.Forwarded, "X-Forwarded-Port: %d\r\n", port)
	}
}

// appendForElement appends a peer as the node of a Forwarded element (RFC 7239, section 6).
func appendForElement(dst []byte, addr netip.Addr, ok bool) []byte {
	switch {
	case !ok:
		return append(dst, "unknown"...)
	case addr.Is4():
		return addr.AppendTo(dst)
	}
	return append(addr.AppendTo(append(dst, "\"["...)), "]\""...)
}

func peerAddr(conn net.Conn) (netip.Addr, bool) {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		addr := tcp.AddrPort().Addr().Unmap().WithZone("")
		return addr, addr.IsValid()
	}
	return netip.Addr{}, false
}

// appendClient appends a client's address in the form that events may contain. With ClientOff it appends nothing.
func appendClient(dst []byte, mode ClientAddress, addr netip.Addr) []byte {
	if !addr.IsValid() || mode == ClientOff {
		return dst
	}
	if mode == ClientMasked {
		bits := 48
		if addr.Is4() {
			bits = 24
		}
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return dst
		}
		addr = prefix.Addr()
	}
	return addr.AppendTo(dst)
}

func (p *generation) trusts(addr netip.Addr) bool { return contains(p.o.TrustedProxies, addr) }

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range networks {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Read reads within the deadline of the current phase. The first byte of a request starts the next phase.
func (c *clientConn) Read(b []byte) (int, error) {
	ph := phase(c.phase.Load())
	switch ph {
	case phaseNew, phaseIdle:
		if !c.parked {
			c.armIdle(ph)
		}
	case phaseHeader:
		c.limits.armRead(c.headerDeadline)
	case phaseBody:
		return c.readPaced(b)
	case phaseTunnel, phaseStreams:
	case phaseLinger:
		c.limits.armRead(c.lingerDeadline)
	case phaseClosed:
		return 0, net.ErrClosed
	}
	n, err := c.readTimed(b)
	if n > 0 && (ph == phaseNew || ph == phaseIdle) {
		c.reading.waited.Store(0)
		c.writing.waited.Store(0)
		c.headerDeadline = c.gen.sweeper.after(c.gen.o.HeaderTimeout)
		if !c.phase.CompareAndSwap(uint32(ph), uint32(phaseHeader)) {
			return 0, net.ErrClosed // a shutdown has just closed the connection, which was idle
		}
	}
	if err != nil {
		c.timedOut.Store(ph == phaseIdle && isTimeout(err))
		c.failed.Store(true)
	}
	return n, err
}

// armIdle arms the deadline for the first byte of a request.
func (c *clientConn) armIdle(ph phase) {
	limit := c.gen.o.IdleTimeout
	if ph == phaseNew {
		limit = c.gen.o.HeaderTimeout
	}
	c.limits.armRead(c.gen.sweeper.after(limit))
}

// readTimed adds the time spent waiting for the client to c.reading.
func (c *clientConn) readTimed(b []byte) (int, error) {
	if c.gaveWay.Load() {
		return 0, os.ErrDeadlineExceeded // the client has become active again, but its connection is already being closed
	}
	now := &c.root.sweeper.now
	if c.unprompted.Load() {
		c.reading.suspend()
		if !c.unprompted.Load() {
			c.reading.resume(now.Load())
		}
	} else if !c.parked {
		c.reading.begin(now.Load())
	}
	c.parked = false
	n, err := c.Conn.Read(b)
	c.reading.end(now.Load(), n)
	return n, err
}

// readPaced reads a piece of a request's body, within ReadTimeout and the time limit that follows from MinBodyRate.
func (c *clientConn) readPaced(b []byte) (int, error) {
	o, s := &c.gen.o, c.gen.sweeper
	counts := c.armPaced()
	began := s.now.Load()
	n, err := c.readTimed(b)
	if err != nil && isTimeout(err) && c.limits.read.Load() == fired && c.watch.unread() { // the deadline passed only because this process was slow
		c.limits.armRead(s.after(o.ReadTimeout))
		n, err = c.readTimed(b)
	}
	if counts {
		c.pace.waited += s.now.Load() - began
	}
	c.pace.read += int64(n)
	if err != nil {
		c.failed.Store(true)
	}
	return n, err
}

// armPaced arms the deadline for a piece of a body. It returns false if it has armed none because the client is waiting for 100 Continue;
// prompt arms the deadline later.
func (c *clientConn) armPaced() bool {
	if c.unprompted.Load() {
		c.limits.armRead(0)
		if c.unprompted.Load() {
			return false
		}
	}
	o, s := &c.gen.o, c.gen.sweeper
	at := s.after(o.ReadTimeout)
	if o.MinBodyRate > 0 && o.ReadTimeout > 0 {
		at = min(at, c.pace.deadline(s, o.MinBodyRate, int64(o.ReadTimeout)))
	}
	c.limits.armRead(at)
	return true
}

// Write writes within the write deadline. Each call restarts that deadline, so it limits the time without progress.
func (c *clientConn) Write(b []byte) (int, error) {
	c.limits.armWrite(c.gen.sweeper.after(c.gen.o.WriteTimeout))
	c.writing.begin(c.gen.sweeper.now.Load())
	n, err := c.Conn.Write(b)
	c.writing.end(c.gen.sweeper.now.Load(), n)
	if err != nil {
		c.writeFailed(err)
	}
	return n, err
}

func (c *clientConn) writeFailed(err error) {
	c.timedOut.Store(isTimeout(err))
	c.failed.Store(true)
}

// Close closes the connection in any phase. If the client has stopped reading, Close resets the connection: otherwise the kernel would
// keep the unsent bytes for minutes, and a version 2 memory cgroup counts them.
func (c *clientConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		c.phase.Store(uint32(phaseClosed))
		c.root.sweeper.remove(&c.limits)
		c.root.forget(c)
		c.pinned.drop()
		tcp, ok := c.Conn.(interface{ SetLinger(seconds int) error })
		if ok && (c.reset || (c.timedOut.Load() || c.gaveWay.Load()) && c.watch.unsent()) {
			_ = tcp.SetLinger(0)
		}
		err = c.closeConn()
	})
	return err
}

// bodyBuffers contains *[]byte values with room for a response's header and bufferedBodyBytesMax bytes of its body.
var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, bufferedBodyBytesMax+4096); return &b }}

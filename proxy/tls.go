package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/wayside-proxy/wayside/proxy/certs"
)

// This file handles TLS to clients. crypto/tls blocks, so goroutines serve these connections, with the same code as all others.
// clientConn.Conn is then a [clientTLS], which encrypts. The sweeper's deadlines, and all code that inspects the socket, act on the TCP
// connection below it. The handshake comes before the first request, so a failed handshake has no event. It is only counted and, at most
// every ten seconds, logged.

// TLSOptions configures listeners that speak TLS.
type TLSOptions struct {
	// Config returns the configuration for a new connection; [certs.Store.Config], for example. Of the protocols in its NextProtos, only "h2" and
	// "http/1.1" are served. Required.
	Config func() *tls.Config
	// HSTS is how long browsers must use only TLS (RFC 6797): responses over TLS get Strict-Transport-Security, unless the service itself sends
	// that field. With 0, the field is not added.
	HSTS time.Duration
	// Port is the port to which ServeRedirect sends clients. Default 443.
	Port int
	// HTTPChallenge returns the response for a token in an ACME validation with HTTP-01, which the listener of ServeRedirect then sends.
	// HTTPChallenge must not wait. Nil means that there are no such validations.
	HTTPChallenge func(token string) (response string, ok bool)
	// Expiries, for example [certs.Store.Expiries], returns the expiry times for the metrics. It may be nil.
	Expiries func() []certs.Expiry
}

// ServeTLS is like Serve, but for a listener whose clients speak TLS. Options.TLS must be set.
func (p *Proxy) ServeTLS(ln net.Listener) error { return p.serve(ln, listenerTLS) }

// ServeRedirect is like Serve, but for a listener that redirects clients to the listener of ServeTLS. Options.TLS must be set.
func (p *Proxy) ServeRedirect(ln net.Listener) error { return p.serve(ln, listenerRedirect) }

// listenerKind is what a listener does with its connections.
type listenerKind uint8

const (
	listenerPlain    listenerKind = iota // serves requests in cleartext
	listenerTLS                          // serves requests over TLS
	listenerRedirect                     // responds to requests in cleartext with a redirect
)

// errNoTLS is returned by ServeTLS and ServeRedirect.
var errNoTLS = errors.New("proxy: Options.TLS is not set")

// helloBytes is the size of the first read on a connection: enough for a ClientHello with a post-quantum key share.
const helloBytes = 2 << 10

// clientTLS is a client connection over TLS or, if plain is set, a connection that turned out to be plain HTTP.
type clientTLS struct {
	*tls.Conn
	wire  *tlsWire
	plain bool // belongs to the goroutine that serves the connection
}

func newClientTLS(conn net.Conn, config *tls.Config) *clientTLS {
	w := &tlsWire{Conn: conn}
	return &clientTLS{Conn: tls.Server(w, config), wire: w}
}

// Read implements net.Conn.
func (t *clientTLS) Read(b []byte) (int, error) {
	if t.plain {
		return t.wire.Read(b)
	}
	return t.Conn.Read(b)
}

// Write implements net.Conn.
func (t *clientTLS) Write(b []byte) (int, error) {
	if t.plain {
		return t.wire.Write(b)
	}
	return t.Conn.Write(b)
}

// WriteBuffers writes several buffers as one record if they fit. Otherwise each buffer would become a separate record and system call.
func (t *clientTLS) WriteBuffers(bufs *net.Buffers) (total int64, err error) {
	loan := joined.Get().(*[]byte)
	defer joined.Put(loan)
	b := (*loan)[:0]
	flush := func() {
		if len(b) > 0 && err == nil {
			var n int
			n, err = t.Write(b)
			total += int64(n)
		}
		b = b[:0]
	}
	for _, piece := range *bufs {
		for len(piece) > 0 && err == nil {
			n := min(len(piece), joinedBytesMax-len(b))
			b = append(b, piece[:n]...)
			if piece = piece[n:]; len(b) == joinedBytesMax {
				flush()
			}
		}
	}
	flush()
	*bufs = nil
	return total, err
}

// CloseWrite tells the client that nothing more follows, in TLS and in TCP.
func (t *clientTLS) CloseWrite() error {
	if !t.plain {
		if err := t.Conn.CloseWrite(); err != nil {
			return err
		}
	}
	return t.wire.CloseWrite()
}

// SetLinger is like [net.TCPConn.SetLinger].
func (t *clientTLS) SetLinger(seconds int) error { return t.wire.SetLinger(seconds) }

// closeConn closes the client's connection. On a TLS connection whose client has acknowledged everything, it sends close_notify first. That must not
// block, because closeConn may run in the sweeper or in Shutdown.
func (c *clientConn) closeConn() error {
	t, ok := c.Conn.(*clientTLS)
	if !ok {
		return c.Conn.Close()
	}
	if c.reset || c.failed.Load() || c.timedOut.Load() || c.gaveWay.Load() || c.watch.unacknowledged() > 0 {
		return t.wire.Conn.Close()
	}
	return t.Close()
}

// serveTLS performs the handshake and then serves requests.
func (c *clientConn) serveTLS() {
	t := c.Conn.(*clientTLS)
	served := false
	defer func() {
		if r := recover(); r != nil {
			c.recovered(r)
			t.wire.endHandshake()
			c.failed.Store(true)
		}
		if !served {
			_ = c.Close()
		}
	}()
	switch err := c.handshake(t); {
	case err == nil && t.plain:
		c.refusal = failTLSRequired
	case err == nil && certs.IsChallenge(t.ConnectionState()):
		return
	case err != nil:
		if c.gaveWay.Load() {
			err = errGaveWay
		}
		c.root.tls.handshakeFailed(c, t, err)
		c.failed.Store(true)
		return
	default:
		state := t.ConnectionState()
		c.root.tls.handshakeDone(&state)
		c.tlsVersion = state.Version
		c.watch.encrypted = true
		if name := certs.ClientName(state); name != "" {
			c.peer.Name = []byte(name)
		}
	}
	served = true
	c.withReader(c.serve)
}

// awaitHello starts the time limit for the handshake and the wait for the client: the wait for a silent client must count from the beginning.
func (c *clientConn) awaitHello() {
	s, limit := c.gen.sweeper, c.gen.o.HeaderTimeout
	c.limits.armRead(s.after(limit))
	c.limits.armWrite(s.after(limit))
	c.reading.begin(s.now.Load())
}

// handshake waits for the first bytes and performs the handshake. Both together must be finished within HeaderTimeout. If the client
// speaks HTTP without TLS, handshake sets t.plain instead.
func (c *clientConn) handshake(t *clientTLS) error {
	defer func() {
		c.limits.armWrite(0)
		c.reading.end(c.gen.sweeper.now.Load(), 0)
		c.reading.waited.Store(0)
	}()
	if c.headerDue {
		if err := c.sniffHeader(t.wire); err != nil {
			return err
		}
	}
	if len(t.wire.unread) == 0 {
		if err := t.wire.sniff(helloBytes); err != nil {
			return err
		}
	}
	if first := t.wire.unread[0]; first >= 'A' && first <= 'Z' {
		t.plain = true
		return nil
	}
	t.wire.slots = c.root.tls.slots
	t.wire.takeSlot()
	err := t.Handshake()
	t.wire.endHandshake()
	return err
}

var errGaveWay = errors.New("wayside closed the connection to make room for another")

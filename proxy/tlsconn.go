package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/proxy/loop"
	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// Encrypted connections to servers.
//
// crypto/tls waits with its locks held, and the tasks of a loop must not wait for locks. So on a loop, crypto/tls never waits: it reads
// from a socket that returns ErrWouldBlock instead, and writes into a buffer. tlsConn waits for the socket, and sends the buffer, when
// crypto/tls has returned. The handshake, which computes for long, is made by a goroutine before the loop receives the connection.

// tlsConn is a TLS connection to a server. Like any other of a loop, it may be read by one task and written by one task.
type tlsConn struct {
	*tls.Conn
	raw      net.Conn
	loop     *loop.Conn // raw, if it belongs to a loop
	peeking  bool       // reading does not wait, although there is no loop
	out      []byte     // on a loop: encrypted bytes to be sent
	spare    []byte     // the buffer that out takes turns with
	flushing bool       // on a loop: a task sends out
}

// dialTLS connects and makes the handshake. Only goroutines may call it.
func dialTLS(ctx context.Context, raw net.Conn, config *tls.Config) (*tlsConn, error) {
	c := &tlsConn{raw: raw}
	c.Conn = tls.Client(transport{c}, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, upstream.ExplainTLS(err)
	}
	return c, nil
}

// adopt gives the connection to a loop. Only tasks may call it.
func (c *tlsConn) adopt(l *loop.Loop) (err error) {
	if c.loop, err = l.Adopt(c.raw); err == nil {
		c.raw = c.loop
	}
	return err
}

// Read implements [net.Conn].
func (c *tlsConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if flushErr := c.flush(nil); flushErr != nil && err == nil { // the response to an update of keys
			return n, flushErr
		}
		if c.loop == nil || n > 0 || !errors.Is(err, loop.ErrWouldBlock) {
			return n, err
		}
		if err := c.loop.AwaitRead(); err != nil {
			return 0, err
		}
	}
}

// Write implements [net.Conn]. If it fails with 0, nothing has been sent.
func (c *tlsConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.loop == nil || err != nil {
		return n, err
	}
	sent := 0
	if err := c.flush(&sent); err != nil {
		return min(sent, len(b)), err
	}
	return n, nil
}

// flush sends what crypto/tls has written, and adds the number of bytes to sent unless that is nil.
func (c *tlsConn) flush(sent *int) error {
	if c.loop == nil || c.flushing { // nothing to send, or sent by another task, which goes on until all is sent
		return nil
	}
	c.flushing = true
	defer func() { c.flushing = false }()
	for len(c.out) > 0 {
		b := c.out
		c.out = c.spare[:0]
		n, err := c.raw.Write(b)
		if sent != nil {
			*sent += n
		}
		if c.spare = b[:0]; cap(b) > scratchBytesKept {
			c.spare = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Quiet reports whether there is nothing to read: neither bytes of a response nor the end of the connection. It may read what only
// crypto/tls is interested in.
func (c *tlsConn) Quiet() bool {
	c.peeking = true
	if c.loop != nil {
		c.loop.Quiet() // looks again
	}
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	c.peeking = false
	return n == 0 && errors.Is(err, loop.ErrWouldBlock) && c.flush(nil) == nil
}

// Close closes the connection without an alert, which could have to wait. Messages of HTTP do not end with the connection.
func (c *tlsConn) Close() error { return c.raw.Close() }

// CloseWrite ends the direction to the server.
func (c *tlsConn) CloseWrite() error {
	err := c.Conn.CloseWrite()
	if err == nil {
		err = c.flush(nil)
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return err
}

// SyscallConn implements [syscall.Conn].
func (c *tlsConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.raw.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// SetDeadline implements [net.Conn].
func (c *tlsConn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline implements [net.Conn].
func (c *tlsConn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline implements [net.Conn].
func (c *tlsConn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }

// transport is what crypto/tls reads from and writes to.
type transport struct{ c *tlsConn }

func (t transport) Read(b []byte) (int, error) {
	switch c := t.c; {
	case c.loop != nil:
		return c.loop.TryRead(b)
	case c.peeking:
		return readNow(c.raw, b)
	default:
		return c.raw.Read(b)
	}
}

func (t transport) Write(b []byte) (int, error) {
	if t.c.loop == nil {
		return t.c.raw.Write(b)
	}
	t.c.out = append(t.c.out, b...)
	return len(b), nil
}

func (t transport) Close() error         { return t.c.raw.Close() }
func (t transport) LocalAddr() net.Addr  { return t.c.raw.LocalAddr() }
func (t transport) RemoteAddr() net.Addr { return t.c.raw.RemoteAddr() }

// Deadlines are those of tlsConn. crypto/tls sets some of its own, which would undo them.
func (transport) SetDeadline(time.Time) error      { return nil }
func (transport) SetReadDeadline(time.Time) error  { return nil }
func (transport) SetWriteDeadline(time.Time) error { return nil }

// readNow reads without waiting.
func readNow(conn net.Conn, b []byte) (n int, err error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno error
	if err := raw.Read(func(fd uintptr) bool {
		n, errno = syscall.Read(int(fd), b)
		return true
	}); err != nil {
		return 0, err
	}
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return 0, loop.ErrWouldBlock
	case errno != nil:
		return 0, errno
	case n == 0:
		return 0, net.ErrClosed
	}
	return n, nil
}

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

// This file handles encrypted connections to servers.
//
// While crypto/tls waits, it holds its locks, and the tasks of an event loop must not wait for locks. So on an event loop, crypto/tls
// never waits: it reads from a transport that returns ErrWouldBlock instead of waiting, and writes to a buffer. When crypto/tls has
// returned, tlsConn waits for the socket and sends the buffer. The handshake takes a lot of CPU time, so a goroutine performs it before
// the loop receives the connection.

// tlsConn is a TLS connection to a server. As with any connection of an event loop, one task may read from it and one task may write to
// it at a time.
type tlsConn struct {
	*tls.Conn
	raw      net.Conn
	loop     *loop.Conn // the same as raw if raw belongs to an event loop; otherwise nil
	peeking  bool       // reads do not wait, although there is no event loop
	out      []byte     // on an event loop: encrypted bytes to send
	spare    []byte     // a second buffer, which alternates with out
	flushing bool       // on an event loop: a task is sending out
}

// dialTLS connects and performs the handshake. Only goroutines may call it.
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

// adopt gives the connection to an event loop. Only tasks may call it.
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
		if flushErr := c.flush(nil); flushErr != nil && err == nil { // crypto/tls may have responded to a key update
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

// Write implements [net.Conn]. If it fails and returns 0, nothing has been sent.
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

// flush sends what crypto/tls has written. Unless sent is nil, it adds the number of bytes to it.
func (c *tlsConn) flush(sent *int) error {
	if c.loop == nil || c.flushing { // there is nothing to send, or another task is sending until nothing is left
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

// Quiet reports whether there is nothing to read: neither bytes of a response nor the end of the connection. It may consume messages that concern only
// crypto/tls.
func (c *tlsConn) Quiet() bool {
	c.peeking = true
	if c.loop != nil {
		c.loop.Quiet() // checks the socket again
	}
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	c.peeking = false
	return n == 0 && errors.Is(err, loop.ErrWouldBlock) && c.flush(nil) == nil
}

// Close closes the connection without sending an alert, for which it might have to wait. HTTP messages do not need the alert to mark their end.
func (c *tlsConn) Close() error { return c.raw.Close() }

// CloseWrite closes the write side of the connection.
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

// transport is the connection from which crypto/tls reads and to which it writes.
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

// Deadlines are set through tlsConn. Those that crypto/tls sets are ignored, because they would replace the deadlines of the proxy.
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

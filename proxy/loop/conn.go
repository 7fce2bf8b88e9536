package loop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connection that a loop serves. It is a [net.Conn] whose Read and Write must be called by tasks of the loop: at most one task may read
// and at most one may write at a time. Any goroutine may call the other methods.
type Conn struct {
	loop          *Loop
	fd            int   // -1 if closed; changed only by the loop, under mu
	gen           int32 // distinguishes this connection from earlier ones with the same descriptor; 0 if not registered
	local, remote net.Addr

	readable, writable bool   // there may be something to read, or room to write
	hungUp             bool   // the peer has half-closed the connection, or both sides are closed
	reader, writer     *Task  // the tasks that are waiting to read or write; nil if there are none
	onReady            func() // see OnReady

	readLate, writeLate atomic.Bool // the deadline has passed
	closed              atomic.Bool
	mu                  sync.Mutex // held to close fd, and while a goroutine other than the loop's uses fd
}

// NewConn returns a Conn for a connected, non-blocking socket, and takes ownership of the socket. The loop does not watch the Conn until
// Start is called. The addresses may be nil. Any goroutine may call NewConn.
func (l *Loop) NewConn(fd int, local, remote net.Addr) *Conn {
	return &Conn{loop: l, fd: fd, local: local, remote: remote, writable: true}
}

// Start makes the loop watch the connection and then call fn. If the loop cannot watch it, the connection is closed when fn is called. It
// must be called exactly once; any goroutine may do so.
func (c *Conn) Start(fn func()) {
	c.loop.Post(func() {
		_ = c.register() // if it fails, fn finds the connection closed
		fn()
	})
}

// register adds the connection to the loop's epoll instance. If that fails, it closes the connection and returns the error.
func (c *Conn) register() error {
	return c.watch(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET)
}

func (c *Conn) watch(events uint32) error {
	l := c.loop
	if c.closed.Load() {
		return net.ErrClosed
	}
	for c.fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.gen++
	c.gen = l.gen
	l.conns[c.fd] = c
	err := l.poll.add(c.fd, events, c.gen)
	if err != nil {
		l.log.Error("cannot watch a connection; closing it", "error", err)
		c.closeNow()
	}
	return err
}

// event is called when something has happened to the socket.
func (c *Conn) event(flags uint32) {
	const over = unix.EPOLLHUP | unix.EPOLLERR
	if flags&(unix.EPOLLRDHUP|over) != 0 {
		c.hungUp = true
	}
	if flags&(unix.EPOLLIN|unix.EPOLLRDHUP|over) != 0 {
		c.readable = true
		c.wakeReader()
	}
	if flags&(unix.EPOLLOUT|over) != 0 {
		c.writable = true
		c.loop.wake(c.writer)
	}
}

func (c *Conn) wakeReader() {
	if c.reader != nil {
		c.loop.wake(c.reader)
	} else if fn := c.onReady; fn != nil {
		c.onReady = nil
		fn()
	}
}

func (c *Conn) wakeWriter() { c.loop.wake(c.writer) }

// OnReady makes the loop call fn once, as soon as Read would no longer wait. An idle connection therefore needs no task. Only the loop
// and its tasks may call OnReady.
func (c *Conn) OnReady(fn func()) {
	c.onReady = fn
	if c.readable || c.readLate.Load() || c.closed.Load() {
		c.loop.Post(c.wakeReader)
	}
}

// Read implements [net.Conn].
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		if err := c.AwaitRead(); err != nil {
			return 0, err
		}
		if n, err := c.TryRead(b); err != ErrWouldBlock {
			return n, err
		}
	}
}

// AwaitRead waits until TryRead would no longer return [ErrWouldBlock].
func (c *Conn) AwaitRead() error {
	c.loop.current.takeTurn()
	for !c.readable || c.readLate.Load() || c.closed.Load() {
		if err := c.stopped(&c.readLate); err != nil {
			return c.fail("read", err)
		}
		c.reader = c.loop.current
		c.reader.park()
		c.reader = nil
	}
	return nil
}

// ErrWouldBlock means that there is currently nothing to read. It is a temporary [net.Error].
var ErrWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read now" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// TryRead is Read without the wait: if there is nothing to read, it returns [ErrWouldBlock].
func (c *Conn) TryRead(b []byte) (int, error) {
	if !c.readable {
		return 0, ErrWouldBlock
	}
	switch n, err := rawRead(c.fd, b); err {
	case nil:
		if n == 0 {
			return 0, io.EOF
		}
		if n < len(b) && !c.hungUp {
			c.readable = false // the socket is empty; an event will follow when more arrives (epoll(7))
		}
		return n, nil
	case syscall.EAGAIN:
		c.readable = false
		return 0, ErrWouldBlock
	case syscall.EINTR:
		return 0, ErrWouldBlock
	default:
		return 0, c.fail("read", os.NewSyscallError("read", err))
	}
}

// Quiet reports whether there is nothing to read: neither bytes nor the end of the connection. Only tasks of the loop may call it.
func (c *Conn) Quiet() bool {
	if c.closed.Load() {
		return false
	}
	var b [1]byte
	_, err := rawPeek(c.fd, b[:])
	c.readable = c.readable || err == nil // the event for new bytes may not have been delivered yet
	return err == syscall.EAGAIN || err == syscall.EINTR
}

// Write implements [net.Conn].
func (c *Conn) Write(b []byte) (int, error) {
	total := 0
	for {
		n, err := c.writeSome(func() (int, error) { return rawWrite(c.fd, b[total:]) })
		if total += n; err != nil || total == len(b) {
			return total, err
		}
	}
}

// WriteBuffers writes several buffers, if possible with one system call. It consumes bufs.
func (c *Conn) WriteBuffers(bufs *net.Buffers) (int64, error) {
	var total int64
	for {
		n, err := c.writeSome(func() (int, error) { return rawWritev(c.fd, *bufs) })
		total += int64(n)
		for left := n; len(*bufs) > 0; *bufs = (*bufs)[1:] {
			first := &(*bufs)[0]
			if left < len(*first) {
				*first = (*first)[left:]
				break
			}
			left -= len(*first)
		}
		if err != nil || len(*bufs) == 0 {
			return total, err
		}
	}
}

// writeSome calls write, waiting for room if necessary, until it succeeds or fails.
func (c *Conn) writeSome(write func() (int, error)) (int, error) {
	c.loop.current.takeTurn()
	for {
		for !c.writable || c.writeLate.Load() || c.closed.Load() {
			if err := c.stopped(&c.writeLate); err != nil {
				return 0, c.fail("write", err)
			}
			c.writer = c.loop.current
			c.writer.park()
			c.writer = nil
		}
		switch n, err := write(); err {
		case nil:
			return n, nil
		case syscall.EAGAIN:
			c.writable = false
		case syscall.EINTR:
		default:
			return 0, c.fail("write", os.NewSyscallError("write", err))
		}
	}
}

// stopped returns the error with which a read or write must end, or nil if it may continue.
func (c *Conn) stopped(late *atomic.Bool) error {
	switch {
	case c.closed.Load():
		return net.ErrClosed
	case late.Load():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// fail wraps an error in the same way as the connections of package net do.
func (c *Conn) fail(op string, err error) error {
	network := "tcp"
	if c.remote != nil {
		network = c.remote.Network()
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}

// Close closes the connection and wakes the tasks that are waiting for it.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.loop.Post(c.closeNow)
	return nil
}

// closeNow closes the connection. Only the loop calls it.
func (c *Conn) closeNow() {
	c.closed.Store(true)
	c.mu.Lock()
	if c.fd >= 0 {
		if c.gen != 0 {
			c.loop.conns[c.fd] = nil
		}
		_ = unix.Close(c.fd)
		c.fd = -1
	}
	c.mu.Unlock()
	c.wakeReader()
	c.wakeWriter()
}

// CloseWrite closes the write side of the connection.
func (c *Conn) CloseWrite() error {
	return c.control(func(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR)) })
}

// SetLinger is like [net.TCPConn.SetLinger]: with 0, Close resets the connection.
func (c *Conn) SetLinger(seconds int) error {
	option := unix.Linger{Onoff: 1, Linger: int32(seconds)}
	if seconds < 0 {
		option = unix.Linger{}
	}
	return c.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &option))
	})
}

func (c *Conn) control(f func(fd int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return net.ErrClosed
	}
	return f(c.fd)
}

// SyscallConn implements [syscall.Conn].
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return rawConn{c}, nil }

// rawConn calls the functions passed to it only once: it does not wait until the socket is ready.
type rawConn struct{ c *Conn }

func (r rawConn) Control(f func(fd uintptr)) error {
	return r.c.control(func(fd int) error {
		f(uintptr(fd))
		return nil
	})
}

func (r rawConn) Read(f func(fd uintptr) bool) error {
	return r.Control(func(fd uintptr) { f(fd) })
}

func (rawConn) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines: see SetReadDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline makes reads fail with [os.ErrDeadlineExceeded] if t is in the past, and allows them otherwise. A deadline in the future has no
// effect when it passes: the caller must watch the time itself.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.readLate, t, c.wakeReader)
}

// SetWriteDeadline is like SetReadDeadline, but for writes.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writeLate, t, c.wakeWriter)
}

func (c *Conn) setDeadline(late *atomic.Bool, t time.Time, wake func()) error {
	if t.IsZero() || t.After(time.Now()) {
		late.Store(false)
	} else if !late.Swap(true) {
		c.loop.Post(wake)
	}
	return nil
}

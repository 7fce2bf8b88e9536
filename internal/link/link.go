// Package link connects the traffic process and the books process.
//
// There are two channels. On one, the books process sends requests to the spool (Peek, Ack, …, see package spool). On the other, the
// traffic process sends HTTP requests: those that it relays from the admin listener, and its own. The second channel consists of a
// [Dialer] and a [Listener] joined by a control connection: for each connection, the dialer creates a socketpair and passes one end over
// the control connection (SCM_RIGHTS, unix(7)). Nothing is bound to a path or a port. So no one else can connect, and the limit of 107
// bytes for a socket's path does not matter.
//
// A child inherits both channels as socketpairs ([Pair]). A books process that is started by hand reaches them through a socket in the data
// directory ([Listen], [Connect]); the first byte of a connection names the channel.
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Channel is the first byte that a books process started by hand sends on a connection. It names the channel.
type Channel byte

// The two channels.
const (
	Spool Channel = 's' // for requests of the books process
	Relay Channel = 'r' // for requests of the traffic process, through a Dialer
)

// SocketName is the socket's name in the data directory.
const SocketName = "collect.sock"

// Pair returns the two ends of a new socketpair: a connection to keep, and a file for a child. The caller must close the file after the
// child has inherited it.
func Pair(name string) (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socketpair for %s: %w", name, err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
	conn, err := net.FileConn(mine)
	_ = mine.Close() // FileConn has its own duplicate
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("use socketpair for %s: %w", name, err)
	}
	return conn, theirs, nil
}

// Inherited turns a file descriptor from the parent process into a connection, and closes the descriptor.
func Inherited(fd uintptr, name string) (net.Conn, error) {
	file := os.NewFile(fd, name)
	if file == nil {
		return nil, fmt.Errorf("inherited descriptor %d (%s) is not open", fd, name)
	}
	defer func() { _ = file.Close() }()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("inherited descriptor %d (%s): %w", fd, name, err)
	}
	return conn, nil
}

// Listen opens the socket in the data directory. It replaces an existing socket, which can only be that of a dead process, because the
// caller holds the lock of the data directory.
func Listen(dataDir string) (*net.UnixListener, error) {
	path, release, err := shortPath(dataDir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", filepath.Join(dataDir, SocketName), err)
	}
	ln.SetUnlinkOnClose(false) // the path may contain a descriptor that is closed before the listener
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("protect %s: %w", filepath.Join(dataDir, SocketName), err)
	}
	return ln, nil
}

// Connect opens one channel to the traffic process that owns the data directory.
func Connect(dataDir string, ch Channel) (net.Conn, error) {
	path, release, err := shortPath(dataDir)
	if err != nil {
		return nil, err
	}
	defer release()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("connect to %s (is wayside run --no-collector running?): %w", filepath.Join(dataDir, SocketName), err)
	}
	if _, err := conn.Write([]byte{byte(ch)}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open channel %c: %w", ch, err)
	}
	return conn, nil
}

// ReadChannel reads the first byte of an accepted connection.
func ReadChannel(conn net.Conn) (Channel, error) {
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	var first [1]byte
	if _, err := conn.Read(first[:]); err != nil {
		return 0, fmt.Errorf("read channel name: %w", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	switch ch := Channel(first[0]); ch {
	case Spool, Relay:
		return ch, nil
	default:
		return 0, fmt.Errorf("unknown channel %q", first[0])
	}
}

// shortPath returns a path to the socket that is short enough for the kernel, if necessary through a descriptor of the
// directory.
func shortPath(dataDir string) (path string, release func(), err error) {
	if path = filepath.Join(dataDir, SocketName); len(path) <= 100 {
		return path, func() {}, nil
	}
	dir, err := os.Open(dataDir)
	if err != nil {
		return "", nil, fmt.Errorf("open data directory: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), SocketName), func() { _ = dir.Close() }, nil
}

const (
	// dialTimeout limits the time of a dial. A dial takes almost no time unless the peer process is stopped.
	dialTimeout = time.Second
	// ConnsMax is the maximum number of connections that a Dialer has open at the same time. Further dials wait until one is closed.
	ConnsMax = 128
	// bufferBytes limits, for each direction, the data of a connection in the kernel. The kernel doubles this limit for its own use.
	bufferBytes = 32 << 10
)

// ErrBusy is returned by a dial if, for a second, all connections were in use or the peer did not react.
var ErrBusy = errors.New("the books process accepts no further connections")

// Dialer opens connections to the Listener at the other end of its control connection. It uses a bounded number of descriptors, however
// many goroutines dial at the same time, and even if the peer does not accept connections.
type Dialer struct {
	control *net.UnixConn
	sending chan struct{} // capacity 1; taken while a connection is passed, because the control connection has only one deadline
	slots   chan struct{} // each open connection takes one
}

// NewDialer returns a Dialer that passes connections over control, which the caller still owns and must close.
func NewDialer(control net.Conn) (*Dialer, error) {
	uc, ok := control.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("control connection is a %T, not a unix socket", control)
	}
	return &Dialer{control: uc, sending: make(chan struct{}, 1), slots: make(chan struct{}, ConnsMax)}, nil
}

// Conn is a connection from a Dialer.
type Conn struct {
	*net.UnixConn
	release func() // frees the connection's slot
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

// DialContext opens a new connection, for use by http.Transport. It ignores network and address, because there is only one peer. If the
// peer process has ended, the dial fails or the connection ends immediately. DialContext returns when ctx is done, or after a second.
func (d *Dialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx) }

// Dial is like DialContext, but returns a *Conn.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, ErrBusy)
	defer cancel()
	if err := acquire(ctx, d.slots); err != nil {
		return nil, err
	}
	conn, err := d.pass(ctx)
	if err != nil {
		<-d.slots
		return nil, err
	}
	return &Conn{UnixConn: conn, release: sync.OnceFunc(func() { <-d.slots })}, nil
}

// acquire takes a slot, or fails when ctx is done.
func acquire(ctx context.Context, slots chan struct{}) error {
	if ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("connect to the books process: %w", context.Cause(ctx))
}

// pass creates a pair of sockets and passes one of them to the peer.
func (d *Dialer) pass(ctx context.Context) (*net.UnixConn, error) {
	conn, theirs, err := Pair("relay")
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	mine, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("socketpair is a %T, not a unix socket", conn)
	}
	_ = mine.SetWriteBuffer(bufferBytes)
	_ = unix.SetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, bufferBytes)
	if err := d.send(ctx, theirs); err != nil {
		_ = mine.Close()
		return nil, err
	}
	return mine, nil
}

// send passes a socket to the peer before ctx is done. If the peer process is stopped, the buffer of the control connection limits the
// number of sockets that wait for it, and each sender waits until its own deadline.
func (d *Dialer) send(ctx context.Context, theirs *os.File) error {
	if err := acquire(ctx, d.sending); err != nil {
		return err
	}
	defer func() { <-d.sending }()
	_ = d.control.SetWriteDeadline(time.Time{})
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = d.control.SetWriteDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	_, _, err := d.control.WriteMsgUnix([]byte{0}, unix.UnixRights(int(theirs.Fd())), nil)
	if !stop() {
		<-interrupted // otherwise it would interrupt the next sender
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("pass connection to the books process: %w", err)
	}
	return nil
}

// Listener accepts the connections that a Dialer opens. It implements net.Listener.
type Listener struct {
	control *net.UnixConn
}

// NewListener takes ownership of control.
func NewListener(control net.Conn) (*Listener, error) {
	uc, ok := control.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("control connection is a %T, not a unix socket", control)
	}
	return &Listener{control: uc}, nil
}

// Accept waits for the next connection. It fails with net.ErrClosed when the dialer's process has ended.
func (l *Listener) Accept() (net.Conn, error) {
	var data [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := l.control.ReadMsgUnix(data[:], oob)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("receive connection: %w", err)
	}
	if n == 0 {
		return nil, net.ErrClosed
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("receive connection: %d control messages: %w", len(messages), errors.Join(err, net.ErrClosed))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("receive connection: %d descriptors: %w", len(fds), errors.Join(err, net.ErrClosed))
	}
	unix.CloseOnExec(fds[0])
	return Inherited(uintptr(fds[0]), "relay")
}

// Close ends Accept.
func (l *Listener) Close() error { return l.control.Close() }

// Addr returns a placeholder, because the listener has no address.
func (l *Listener) Addr() net.Addr { return l.control.LocalAddr() }

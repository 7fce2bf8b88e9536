// Package link connects the traffic process with the books process.
//
// Two channels are needed: one on which the books process asks (Peek, Ack, …, see package spool), and one on which the
// traffic process asks (HTTP relayed from the admin listener). The second is a [Dialer] and a [Listener] joined by a
// control connection: for each connection the dialler makes a socketpair and passes one end over the control connection
// (SCM_RIGHTS, unix(7)). Nothing is bound to a path or a port, so nobody else can connect, and the 107 bytes that a socket
// path may have do not matter.
//
// A child inherits both channels as socketpairs ([Pair]). A books process that is started by hand reaches the same two
// channels through a socket in the data directory ([Listen], [Connect]); its first byte names the channel.
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

// Channel is the first byte a separately started books process sends on a connection.
type Channel byte

// The two channels.
const (
	Spool Channel = 's' // the books process asks
	Relay Channel = 'r' // the traffic process asks, through a Dialer
)

// SocketName is the socket's name in the data directory.
const SocketName = "collect.sock"

// Pair returns the two ends of a new socketpair: a connection to keep, and a file to hand to a child, which the caller
// closes once the child has it.
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

// Inherited turns a file descriptor that the parent handed over into a connection, and closes the descriptor.
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

// Listen opens the socket in the data directory, replacing one that a dead process left. The caller holds the data
// directory's lock, so no living process can own it.
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
	ln.SetUnlinkOnClose(false) // the path may go through a descriptor that is closed by then
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
		return nil, fmt.Errorf("connect to %s (is wayside run --no-collector up?): %w", filepath.Join(dataDir, SocketName), err)
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

// shortPath names the socket through the directory's descriptor, which is short however long the directory's own path.
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
	// sendWait is how long a dial may take. It takes no time, except when the peer stands still.
	sendWait = time.Second
	// ConnsMax is the number of connections that a Dialer has open at the same time; further dials wait for one to be closed.
	ConnsMax = 128
	// bufferBytes bounds what the kernel holds of a connection in each direction; it doubles that for its own use.
	bufferBytes = 32 << 10
)

// ErrBusy is returned by a dial that found all connections in use, or the peer standing still, for a second.
var ErrBusy = errors.New("the books process takes no further connection")

// Dialer makes connections to the Listener at the other end of its control connection. However many dial at a time, and
// whether or not the peer takes what is passed to it, it holds a bounded number of descriptors.
type Dialer struct {
	control *net.UnixConn
	turn    chan struct{} // held while a connection is passed: the control connection has one deadline
	places  chan struct{} // one is held by each open connection
}

// NewDialer uses control, which the caller keeps and closes, to pass connections on.
func NewDialer(control net.Conn) (*Dialer, error) {
	uc, ok := control.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("control connection is a %T, not a unix socket", control)
	}
	return &Dialer{control: uc, turn: make(chan struct{}, 1), places: make(chan struct{}, ConnsMax)}, nil
}

// Conn is a connection that a Dialer made.
type Conn struct {
	*net.UnixConn
	place func()
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	defer c.place()
	return c.UnixConn.Close()
}

// DialContext makes a new connection; it fits http.Transport, whose network and address are ignored: there is one peer.
// A peer that has gone shows as an error here or as a connection that ends at once. It returns when ctx is done, after a
// second at the latest.
func (d *Dialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx) }

// Dial is DialContext with the type of its result.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sendWait, ErrBusy)
	defer cancel()
	if err := enter(ctx, d.places); err != nil {
		return nil, err
	}
	conn, err := d.pass(ctx)
	if err != nil {
		<-d.places
		return nil, err
	}
	return &Conn{UnixConn: conn, place: sync.OnceFunc(func() { <-d.places })}, nil
}

// enter takes a place, or fails when ctx is done.
func enter(ctx context.Context, places chan struct{}) error {
	if ctx.Err() == nil {
		select {
		case places <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("connect to the books process: %w", context.Cause(ctx))
}

// pass makes a pair of sockets and passes one of them to the peer.
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

// send passes a socket on before ctx is done. A peer that stands still takes nothing: what waits for it is
// bounded by the control connection's buffer, and each sender by its own deadline, in turn.
func (d *Dialer) send(ctx context.Context, theirs *os.File) error {
	if err := enter(ctx, d.turn); err != nil {
		return err
	}
	defer func() { <-d.turn }()
	_ = d.control.SetWriteDeadline(time.Time{})
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = d.control.SetWriteDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	_, _, err := d.control.WriteMsgUnix([]byte{0}, unix.UnixRights(int(theirs.Fd())), nil)
	if !stop() {
		<-interrupted // else it would interrupt the next one
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("pass connection to the books process: %w", err)
	}
	return nil
}

// Listener accepts the connections that a Dialer makes. It implements net.Listener.
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

// Accept waits for the next connection. It fails with net.ErrClosed once the dialler's process has gone.
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

// Addr is a placeholder: the listener has no address.
func (l *Listener) Addr() net.Addr { return l.control.LocalAddr() }

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
	"net"
	"os"
	"path/filepath"
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
	mine, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name) //nolint:gosec // file descriptors
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
	dir, err := os.Open(dataDir) //nolint:gosec // the operator's own data directory
	if err != nil {
		return "", nil, fmt.Errorf("open data directory: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), SocketName), func() { _ = dir.Close() }, nil
}

// sendWait is how long the passing of a connection may take, which is at once but where a peer stands still.
const sendWait = time.Second

// Dialer makes connections to the Listener at the other end of its control connection.
type Dialer struct {
	control *net.UnixConn
}

// NewDialer uses control, which the caller keeps and closes, to pass connections on.
func NewDialer(control net.Conn) (*Dialer, error) {
	uc, ok := control.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("control connection is a %T, not a unix socket", control)
	}
	return &Dialer{control: uc}, nil
}

// DialContext makes a new connection; it fits http.Transport, whose network and address are ignored: there is one peer.
// A peer that has gone shows as an error here or as a connection that ends at once.
func (d *Dialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, theirs, err := Pair("relay")
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	// A process that stands still takes no connections: what waits for it is bounded by the socket, and so must be the wait.
	_ = d.control.SetWriteDeadline(time.Now().Add(sendWait))
	rights := unix.UnixRights(int(theirs.Fd()))
	if _, _, err := d.control.WriteMsgUnix([]byte{0}, rights, nil); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("pass connection to the books process: %w", err)
	}
	return conn, nil
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
	if err != nil {
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
	return Inherited(uintptr(fds[0]), "relay") //nolint:gosec // a file descriptor
}

// Close ends Accept.
func (l *Listener) Close() error { return l.control.Close() }

// Addr is a placeholder: the listener has no address.
func (l *Listener) Addr() net.Addr { return l.control.LocalAddr() }

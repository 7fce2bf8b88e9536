package loop

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// acceptsPerTurn is the number of connections that a loop accepts before its other connections get their turn.
	acceptsPerTurn = 16
	// acceptPause is how long a loop waits after an error, such as a lack of descriptors.
	acceptPause = 10 * time.Millisecond
)

// listener is a listening socket that a loop watches.
type listener struct {
	conn     *Conn // has its own descriptor
	accepted func(fd int, from net.Addr, err error)
}

// Listen makes the loop accept connections from a non-blocking, listening TCP socket until stop is called. Several loops may share the socket.
// The loop calls accepted with each new socket, which accepted then owns, or with an error. After an error the loop tries again 10 ms later.
// Any goroutine may call Listen and stop.
func (l *Loop) Listen(fd int, accepted func(fd int, from net.Addr, err error)) (stop func(), err error) {
	setOptions(fd) // accepted connections inherit these options
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	n := &listener{conn: l.NewConn(own, nil, nil), accepted: accepted}
	registered := make(chan error, 1)
	l.Post(func() {
		// The events are edge-triggered, so accept must be called until no connection is left. EPOLLEXCLUSIVE: a connection wakes only one loop.
		err := n.conn.watch(unix.EPOLLIN | unix.EPOLLET | unix.EPOLLEXCLUSIVE)
		registered <- err
		if err == nil {
			n.accept()
		}
	})
	return func() { _ = n.conn.Close() }, <-registered
}

// accept accepts the waiting connections.
func (n *listener) accept() {
	c := n.conn
	for range acceptsPerTurn {
		if c.closed.Load() {
			return
		}
		switch fd, from, err := unix.Accept4(c.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); {
		case err == nil:
			n.accepted(fd, tcpAddr(from), nil)
		case errors.Is(err, unix.EAGAIN):
			c.onReady = n.accept
			return
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		default:
			n.accepted(-1, nil, os.NewSyscallError("accept4", err))
			c.loop.Go(func() {
				c.loop.NewSignal().Wait(acceptPause)
				n.accept()
			})
			return
		}
	}
	c.loop.Post(n.accept)
}

func tcpAddr(a unix.Sockaddr) net.Addr {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port} // without the zone, because clients are distinguished only by their address
	}
	return nil
}

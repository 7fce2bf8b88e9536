package loop

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to an address of type [*net.TCPAddr] or [*net.UnixAddr]. If limit is positive, it is the longest time that Dial may take. control
// may set options of the new socket, or be nil. Only tasks may call Dial.
func (l *Loop) Dial(to net.Addr, limit time.Duration, control func(network, address string, raw syscall.RawConn) error) (*Conn, error) {
	family, address, err := sockaddr(to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: to.Network(), Addr: to, Err: err}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: to.Network(), Addr: to, Err: os.NewSyscallError("socket", err)}
	}
	c := l.NewConn(fd, nil, to)
	if family != unix.AF_UNIX {
		setOptions(fd)
	}
	if control != nil {
		err = control(to.Network(), to.String(), rawConn{c})
	}
	if err == nil {
		err = c.connect(address, limit)
	}
	if err != nil {
		_ = c.Close()
		return nil, &net.OpError{Op: "dial", Net: to.Network(), Addr: to, Err: err}
	}
	return c, nil
}

func (c *Conn) connect(address unix.Sockaddr, limit time.Duration) error {
	err := unix.Connect(c.fd, address)
	if err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	if err := c.register(); err != nil {
		return err
	}
	if err == nil {
		return nil
	}
	c.writable = false
	var t *timer
	if limit > 0 {
		t = c.loop.startTimer(limit)
		defer c.loop.stopTimer(t)
	}
	c.writer = c.loop.current
	for !c.writable && !c.closed.Load() && !t.over() {
		c.writer.park()
	}
	c.writer = nil
	switch {
	case c.closed.Load():
		return net.ErrClosed
	case !c.writable:
		return os.ErrDeadlineExceeded
	}
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return os.NewSyscallError("connect", err)
}

// Adopt turns a connection of package net into a Conn, and closes the original. Only tasks may call it.
func (l *Loop) Adopt(conn net.Conn) (*Conn, error) {
	defer func() { _ = conn.Close() }() // the socket remains open, because the Conn has its own descriptor
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	controlErr := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(controlErr, err); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	c := l.NewConn(fd, conn.LocalAddr(), conn.RemoteAddr())
	return c, c.register()
}

// setOptions sets the options that package net would set: small packets are not delayed, and keep-alive probes detect dead peers.
func setOptions(fd int) {
	const seconds, probes = 15, 9
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probes)
}

func sockaddr(a net.Addr) (family int, address unix.Sockaddr, err error) {
	switch a := a.(type) {
	case *net.UnixAddr:
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: a.Name}, nil
	case *net.TCPAddr:
		ip, _ := netip.AddrFromSlice(a.IP)
		if ip = ip.Unmap(); ip.Is4() {
			return unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: ip.As4()}, nil
		}
		if a.Zone != "" {
			return 0, nil, errors.ErrUnsupported
		}
		return unix.AF_INET6, &unix.SockaddrInet6{Port: a.Port, Addr: ip.As16()}, nil
	}
	return 0, nil, errors.ErrUnsupported
}

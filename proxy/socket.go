package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket reports what the kernel knows about a connection but net.Conn does not show. If the connection has no kernel socket, its methods report that
// nothing is unread, unsent or closed. Any goroutine may call the methods.
type socket struct {
	raw syscall.RawConn // nil if there is no kernel socket
	fd  int             // number of the descriptor; only for poll(2), because it may have been closed and reused
}

// socketOf returns the socket of a connection.
func socketOf(conn net.Conn) socket {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return socket{fd: -1}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return socket{fd: -1}
	}
	s := socket{raw: raw, fd: -1}
	_ = raw.Control(func(n uintptr) { s.fd = int(n) })
	return s
}

// known reports whether there is a descriptor.
func (s *socket) known() bool { return s.raw != nil && s.fd >= 0 }

// unread reports whether bytes are waiting to be read.
func (s *socket) unread() bool {
	if s.raw == nil {
		return false
	}
	unread := false
	_ = s.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		unread = n > 0 && err == nil
	})
	return unread
}

// unsent reports whether the kernel has bytes that it cannot send because the peer does not read.
func (s *socket) unsent() bool {
	if s.raw == nil {
		return false
	}
	unsent := 0
	_ = s.raw.Control(func(fd uintptr) { unsent, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD) })
	return unsent > 0
}

// unacknowledged returns how many bytes the peer has not acknowledged. The FIN of this side counts as one byte.
func (s *socket) unacknowledged() int {
	if s.raw == nil {
		return 0
	}
	left := 0
	_ = s.raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return left
}

// wakeFrom makes the kernel wake a reader only when n bytes have arrived, or the peer has half-closed the connection (SO_RCVLOWAT).
func (s *socket) wakeFrom(n int) {
	if s.raw != nil {
		_ = s.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) })
	}
}

// hungUp reports whether both directions are closed.
func (s *socket) hungUp() bool {
	if !s.known() {
		return false
	}
	fds := [1]unix.PollFd{{Fd: int32(s.fd)}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 && err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// left reports whether the peer has half-closed the connection and everything that it sent has been read. If encrypted is set, an alert
// that ends TLS may still be unread.
func (s *socket) left(encrypted bool) bool {
	if s.raw == nil {
		return false
	}
	left := false
	err := s.raw.Control(func(fd uintptr) {
		var b [2 * alertBytesMax]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		left = n == 0 && err == nil || err == unix.ECONNRESET || err == unix.EPIPE || err == unix.ETIMEDOUT
		if n > 0 && err == nil && encrypted && isAlert(b[:n]) {
			fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			n, err := unix.Poll(fds[:], 0)
			left = n > 0 && err == nil && fds[0].Revents&unix.POLLRDHUP != 0
		}
	})
	return err == nil && left
}

// alertBytesMax is the length of the longest TLS record that carries an alert, including the record's header.
const alertBytesMax = 64

// isAlert reports whether the last bytes that a client has sent can be the alert that ends TLS. TLS 1.3 hides the type of a record, so
// isAlert decides by its length. The record may instead contain a byte or two of data, but these are too few for a request.
func isAlert(b []byte) bool {
	const header, alert, applicationData, hiddenAlert = 5, 21, 23, 2 + 1 + 16
	if len(b) < header || len(b) > alertBytesMax || int(b[3])<<8|int(b[4]) != len(b)-header {
		return false
	}
	return b[0] == alert || b[0] == applicationData && len(b)-header <= hiddenAlert
}

package admin

import (
	"io"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendfileBytesMin is the length from which sending pages that are in memory already costs less than copying them.
const sendfileBytesMin = 16 << 10

// response is a complete response, header and all.
type response struct {
	bytes []byte
	file  *os.File // the same in memory pages of the kernel; nil for short ones, or where there are none to be had
}

// newResponse keeps a long response in a memory file. The kernel closes that when the last response is garbage and sent.
func newResponse(text []byte) *response {
	r := &response{bytes: text}
	if len(text) < sendfileBytesMin {
		return r
	}
	fd, err := unix.MemfdCreate("wayside-snapshot", unix.MFD_CLOEXEC)
	if err != nil {
		return r // an old kernel or a strict sandbox: copying does it as well
	}
	file := os.NewFile(uintptr(fd), "snapshot")
	if _, err := file.Write(text); err != nil {
		_ = file.Close()
		return r
	}
	r.file = file
	return r
}

// sender writes responses to one connection.
type sender struct {
	conn net.Conn
	raw  syscall.RawConn // nil if the connection has no descriptor
	step func(uintptr) bool

	// of the response being sent
	from   int
	offset int64
	left   int
	err    error
}

func newSender(conn net.Conn) *sender {
	s := &sender{conn: conn}
	s.step = s.sendSome
	if with, ok := conn.(syscall.Conn); ok {
		if raw, err := with.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	return s
}

// send writes the whole response. fd is the connection's, in the hands of the caller.
func (s *sender) send(r *response, fd uintptr) error {
	if r.file == nil || s.raw == nil {
		_, err := s.conn.Write(r.bytes)
		return err
	}
	defer runtime.KeepAlive(r)
	s.from, s.offset, s.left, s.err = int(r.file.Fd()), 0, len(r.bytes), nil
	if !s.sendSome(fd) { // the connection takes no more for now
		if err := s.raw.Write(s.step); err != nil {
			return err
		}
	}
	return s.err
}

// sendSome sends what the connection takes; false asks to be called again when it takes more.
func (s *sender) sendSome(fd uintptr) bool {
	for s.left > 0 {
		n, err := unix.Sendfile(int(fd), s.from, &s.offset, s.left)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.err = err
			return true
		case n == 0:
			s.err = io.ErrUnexpectedEOF
			return true
		default:
			s.left -= n
		}
	}
	return true
}

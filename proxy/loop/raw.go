package loop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file makes system calls on non-blocking sockets without telling the Go runtime: a call takes a microsecond or two, and telling the runtime
// takes as long.

func rawRead(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// rawPeek reads bytes but leaves them in the socket.
func rawPeek(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func rawWrite(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// vectorsMax is the largest number of buffers that one rawWritev writes.
const vectorsMax = 4

func rawWritev(fd int, bufs [][]byte) (int, error) {
	var vectors [vectorsMax]unix.Iovec
	n := min(len(bufs), vectorsMax)
	for i, b := range bufs[:n] {
		vectors[i].Base = unsafe.SliceData(b)
		vectors[i].SetLen(len(b))
	}
	written, _, errno := syscall.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vectors)), uintptr(n))
	if errno != 0 {
		return 0, errno
	}
	return int(written), nil
}

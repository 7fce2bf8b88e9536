package loop

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollEvents is the largest number of events that one wait returns. The next wait returns the others.
const pollEvents = 256

// poller is an epoll instance together with an eventfd that can end its wait.
type poller struct {
	fd     int
	wakeFD int
	events [pollEvents]unix.EpollEvent
}

func (p *poller) open() (err error) {
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if p.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return errors.Join(os.NewSyscallError("eventfd", err), unix.Close(p.fd))
	}
	return p.add(p.wakeFD, unix.EPOLLIN|unix.EPOLLET, 0)
}

func (p *poller) close() {
	_ = unix.Close(p.fd)
	_ = unix.Close(p.wakeFD)
}

// add watches a descriptor until it is closed.
func (p *poller) add(fd int, events uint32, gen int32) error {
	e := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: gen}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &e))
}

// wake ends the current wait or, if there is none, the next one. Any goroutine may call it.
func (p *poller) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wakeFD, one[:])
}

// wait returns the events that have occurred. It waits at most d, or without a limit if d is negative. If keep is set, the loop keeps its
// processor while it waits, as the package documentation explains; d must then be short.
func (p *poller) wait(d time.Duration, keep bool) []unix.EpollEvent {
	ms := -1
	if d >= 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	var n uintptr
	var errno syscall.Errno
	if keep || ms == 0 {
		n, _, errno = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), pollEvents, uintptr(ms), 0, 0)
	} else {
		n, _, errno = syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), pollEvents, uintptr(ms), 0, 0)
	}
	if errno != 0 {
		// A signal has ended the wait, because the runtime wants to stop this goroutine. Gosched lets it do so.
		runtime.Gosched()
		return nil
	}
	return p.events[:n]
}

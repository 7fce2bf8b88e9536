package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// frontLoop serves connections from one goroutine that waits for all of them at once. The runtime would wake a goroutine
// for each, and threads to run them on: that cost more than the answers.
type frontLoop struct {
	f     *front
	epoll int
	wake  int // an eventfd that ends the loop

	mu    sync.Mutex
	conns map[int]*frontConn // by descriptor; nil once the loop ends; guarded by mu
}

const (
	loopsMax   = 8
	loopEvents = 64
)

// loopsFor is the number of loops on so many processors: one is left for what else there is to do.
func loopsFor(processors int) int { return min(max(processors-1, 1), loopsMax) }

// newLoop starts a loop; end ends it.
func (f *front) newLoop() (*frontLoop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for connections: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}) //nolint:gosec // a descriptor
	}
	if err != nil {
		_ = unix.Close(epoll)
		if wake >= 0 {
			_ = unix.Close(wake)
		}
		return nil, fmt.Errorf("wait for connections: %w", err)
	}
	l := &frontLoop{f: f, epoll: epoll, wake: wake, conns: map[int]*frontConn{}}
	f.done.Go(l.run)
	return l, nil
}

// end asks the loop to close its connections and itself, once it has sent what it is sending or the front's grace is over.
func (l *frontLoop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns != nil { // else the descriptor is closed, and may be another's
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// take makes conn the loop's own, with its place. The runtime must not wait for it any more, so its descriptor is copied and
// conn closed. false means that nothing happened to conn.
func (l *frontLoop) take(conn *placed) bool {
	with, ok := conn.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return false
	}
	fd := -1
	err = raw.Control(func(old uintptr) { fd, _ = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || fd < 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &frontConn{f: l.f, fd: fd, place: conn.place, active: time.Now(), buf: make([]byte, frontBytesMax)}
	if l.conns == nil || unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, c.interest(unix.EPOLLIN)) != nil {
		_ = unix.Close(fd)
		return false
	}
	_ = conn.Conn.Close()
	l.conns[fd] = c
	return true
}

func (l *frontLoop) conn(fd int) *frontConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[fd]
}

func (l *frontLoop) run() {
	defer l.close()
	events := make([]unix.EpollEvent, loopEvents)
	swept, every := time.Now(), min(l.f.idle, l.f.silent)/4
	var last time.Time // when the loop ends, whoever is still being sent something; zero: it has not been asked to
	for {
		n, err := unix.EpollWait(l.epoll, events, int(every.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			l.f.log.Error("the connections of the admin listener cannot be waited for", "error", err)
			return
		}
		now := time.Now()
		for i := range max(n, 0) {
			fd := int(events[i].Fd)
			if fd == l.wake {
				_, _ = unix.Read(l.wake, make([]byte, 8))
				last, every = now.Add(l.f.grace), l.f.grace/10
			} else if c := l.conn(fd); c != nil {
				l.follow(c, c.ready(now))
			}
		}
		if !last.IsZero() && (l.finish() || now.After(last)) {
			return
		}
		if now.Sub(swept) >= every {
			swept = now
			l.sweep(now)
		}
	}
}

// finish closes the connections that are not being sent anything, and reports whether no other is left.
func (l *frontLoop) finish() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd, c := range l.conns {
		if c.sending == nil {
			delete(l.conns, fd)
			c.close()
		}
	}
	return len(l.conns) == 0
}

// follow does what a connection needs next.
func (l *frontLoop) follow(c *frontConn, next step) {
	switch next {
	case hangUp:
		l.drop(c)
	case passOn:
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
		l.mu.Lock()
		delete(l.conns, c.fd)
		l.mu.Unlock()
		l.f.done.Go(func() { l.f.pass(c) })
	case awaitRequest, awaitRoom:
		interest := uint32(unix.EPOLLIN)
		if next == awaitRoom {
			interest = unix.EPOLLOUT
		}
		if c.awaits != interest && unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, c.interest(interest)) != nil {
			l.drop(c)
		}
	}
}

func (l *frontLoop) drop(c *frontConn) {
	l.mu.Lock()
	delete(l.conns, c.fd)
	l.mu.Unlock()
	c.close()
}

// sweep closes connections on which nothing has happened for too long.
func (l *frontLoop) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd, c := range l.conns {
		quiet := now.Sub(c.active)
		if quiet >= l.f.idle || quiet >= l.f.silent && !c.asked {
			delete(l.conns, fd)
			c.close()
		}
	}
}

func (l *frontLoop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.close()
	}
	l.conns = nil
	_ = unix.Close(l.epoll)
	_ = unix.Close(l.wake)
}

// pass hands a connection over to net/http with what it has sent.
func (f *front) pass(c *frontConn) {
	file := os.NewFile(uintptr(c.fd), "connection")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		f.log.Debug("a connection of the admin listener is lost", "error", err)
		c.place.free()
		return
	}
	f.hand(&placed{Conn: &replayed{Conn: conn, sent: c.buf[:c.n]}, place: c.place})
}

// hand gives a connection to net/http.
func (f *front) hand(conn net.Conn) {
	select {
	case f.listener.conns <- conn:
	case <-f.listener.closed:
		_ = conn.Close()
	}
}

// loopFor gives the loop that the next connection belongs to, and starts it where need be.
func (f *front) loopFor() *frontLoop {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if f.next++; f.next >= loopsFor(runtime.GOMAXPROCS(0)) {
		f.next = 0
	}
	if f.next < len(f.loops) {
		return f.loops[f.next]
	}
	l, err := f.newLoop()
	if err != nil {
		f.log.Warn("snapshots are served by net/http alone", "error", err)
		return nil
	}
	f.next = len(f.loops)
	f.loops = append(f.loops, l)
	return l
}

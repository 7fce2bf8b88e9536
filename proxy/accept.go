package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	acceptPause     = 10 * time.Millisecond
	acceptWarnPause = time.Second // the shortest time between two log lines about failed attempts
)

// Serve accepts connections from ln until Shutdown is called, and then returns nil. If Serve has to stop for another reason, it returns
// an error. Serve may be called for several listeners at the same time. It closes ln before it returns. If Listen made ln, Serve first
// serves the connections that are still in the listener's queue (see drain.go). Event loops serve the connections of a
// [net.TCPListener] and of an [Inherited].
func (p *Proxy) Serve(ln net.Listener) error { return p.serve(ln, listenerPlain) }

func (p *Proxy) serve(ln net.Listener, kind listenerKind) error {
	if kind != listenerPlain && p.current.Load().o.TLS == nil {
		_ = ln.Close()
		return errNoTLS
	}
	a := &acceptor{Listener: ln, p: p, kind: kind, stopping: make(chan struct{}), broken: make(chan error, 1)}
	tcp, isTCP := ln.(*net.TCPListener)
	if shared, ok := ln.(Inherited); ok {
		tcp, isTCP, a.inherited = shared.TCPListener, true, true
	}
	p.mu.Lock()
	p.listeners[a] = struct{}{}
	p.mu.Unlock()
	defer func() {
		_ = ln.Close()
		p.mu.Lock()
		delete(p.listeners, a)
		p.mu.Unlock()
	}()
	if p.closing.Load() {
		return nil
	}
	p.begins.Do(func() {
		p.drivers.start()
		p.watchGroups()
		p.background.Go(func() { p.sweeper.run(p.stop, p.tick) })
	})
	var err error
	if isTCP && len(p.drivers.loops()) > 0 && kind != listenerTLS {
		err = a.onLoops(tcp)
	} else {
		err = a.onGoroutine()
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// acceptor accepts the connections of one listener.
type acceptor struct {
	net.Listener
	p         *Proxy
	kind      listenerKind
	inherited bool          // see Inherited
	stopping  chan struct{} // closed by stop
	stopOnce  sync.Once
	noQueue   bool         // the queue cannot be emptied; written before stopping is closed
	broken    chan error   // receives the error of a loop that cannot accept connections
	accepted  atomic.Int64 // number of connections accepted by event loops
	failures  acceptFailures
}

// stop makes the acceptor empty the queue and then end. If the kernel cannot refuse new connections, the acceptor ends immediately,
// which resets the connections in its queue, and stop returns the reason.
func (a *acceptor) stop() (err error) {
	a.stopOnce.Do(func() {
		defer close(a.stopping)
		if a.inherited {
			err = a.setDeadline(0)
			return
		}
		if err = refuseNew(a.Listener); err == nil {
			err = a.setDeadline(acceptQuiet)
		}
		if err != nil {
			a.noQueue = true
			_ = a.Close()
		}
	})
	return err
}

// setDeadline makes Accept fail if no connection arrives within quiet.
func (a *acceptor) setDeadline(quiet time.Duration) error {
	timed, ok := a.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return timed.SetDeadline(time.Now().Add(quiet))
}

// onLoops makes every event loop accept connections, and returns when the acceptor is stopped and the queue is empty.
func (a *acceptor) onLoops(ln *net.TCPListener) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	for _, d := range a.p.drivers.loops() {
		var stop func()
		var listenErr error
		err := raw.Control(func(fd uintptr) { stop, listenErr = d.(*loopDriver).Listen(int(fd), a.take) })
		if err = errors.Join(err, listenErr); err != nil {
			return err
		}
		defer stop()
	}
	select {
	case err := <-a.broken:
		return err
	case <-a.stopping:
	}
	for !a.noQueue && !a.inherited {
		before := a.accepted.Load()
		time.Sleep(acceptQuiet) // blocks only the goroutine that called Serve
		if a.accepted.Load() == before && !queued(a.Listener) {
			break
		}
	}
	return nil
}

// take handles the result of an accept on an event loop: a connection or an error. It distributes the connections among the loops in
// turn, because the loop that accepts a connection has little to do at that moment but may be busy later.
func (a *acceptor) take(fd int, from net.Addr, err error) {
	switch {
	case err == nil:
		a.accepted.Add(1)
		d := a.p.drivers.nextLoop()
		a.receive(d.NewConn(fd, a.Addr(), from), d)
	case temporary(err):
		a.warn(err)
	default:
		select {
		case a.broken <- err:
		default:
		}
	}
}

// onGoroutine accepts in the calling goroutine.
func (a *acceptor) onGoroutine() error {
	for {
		conn, err := a.Accept()
		switch {
		case err == nil:
			if a.p.closing.Load() && !a.inherited {
				_ = a.setDeadline(acceptQuiet)
			}
			a.receive(conn, a.p.drivers.all[0])
		case a.p.closing.Load():
			if errors.Is(err, os.ErrDeadlineExceeded) && !a.inherited && queued(a.Listener) { // the deadline passed only because this goroutine was slow
				_ = a.setDeadline(acceptQuiet)
				continue
			}
			return nil
		case temporary(err):
			a.warn(err)
			time.Sleep(acceptPause)
		default:
			return err
		}
	}
}

func (a *acceptor) warn(err error) {
	if n := a.failures.count(time.Now()); n > 0 {
		a.p.current.Load().o.Logger.Warn("cannot accept connections; wayside will try again", "error", err, "attempts", n)
	}
}

// receive starts serving an accepted connection, immediately or as soon as there is room. It does not block.
func (a *acceptor) receive(conn net.Conn, d driver) {
	p := a.p
	c := newClientConn(p.current.Load(), conn, d, a.kind)
	p.remember(c)
	p.sweeper.add(&c.limits)
	if f := p.admission.admit(c); f != failNone {
		p.admission.enqueue(c, f)
		return
	}
	c.start()
}

// acceptFailures limits the log lines about connections that could not be accepted: if there are no free descriptors, every attempt fails.
type acceptFailures struct {
	mu       sync.Mutex
	attempts int       // guarded by mu; failed attempts since the last line
	loggedAt time.Time // guarded by mu; time of the last line; zero if there is none
}

// count counts a failed attempt. If a line is due, it returns how many attempts have failed since the last line, otherwise 0.
func (f *acceptFailures) count(now time.Time) (attempts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts++
	if !f.loggedAt.IsZero() && now.Sub(f.loggedAt) < acceptWarnPause {
		return 0
	}
	attempts = f.attempts
	f.attempts, f.loggedAt = 0, now
	return attempts
}

// temporary reports whether a later accept may succeed.
func temporary(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

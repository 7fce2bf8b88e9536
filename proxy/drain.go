package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file implements a shutdown that does not break requests that clients have already sent.
//
// Closing a listener resets the connections that are waiting in its queue, and their clients may already have sent a request. So the
// proxy first makes the kernel refuse new connections, then empties the queue, and then closes the listener. Clients that connect in the
// meantime are refused, as are all later ones.
//
// The next request can arrive on an idle connection at any time. So a shutdown leaves such a connection open for DrainGrace. A request that
// arrives within that time gets a response with "Connection: close". The proxy closes only connections that stay silent.

// acceptQuiet is the time without a new connection after which a listener's queue counts as empty. The last packet of a TCP handshake
// that had already begun can arrive within this time.
const acceptQuiet = 50 * time.Millisecond

// noInterface is an interface index that no machine uses.
const noInterface = 1<<31 - 1

// Listen returns a listener for Serve on a host:port. It uses plain TCP. net.Listen uses Multipath TCP if the kernel supports it, but
// some kernels cannot bind such a socket to an interface. With such a kernel, a shutdown would reset the connections in the queue.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	c.Control = boundBuffers
	return c.Listen(ctx, "tcp", address)
}

// Inherited is a listener whose socket is also open in another process: systemd, for example, keeps the socket and hands it to the next
// process. Connections that are still in its queue are served by that next process, so Shutdown stops accepting immediately and leaves
// the queue alone.
type Inherited struct{ *net.TCPListener }

// Inherit returns the listener to pass to Serve for a socket that another process opened.
func Inherit(ln *net.TCPListener) (Inherited, error) {
	raw, err := ln.SyscallConn()
	if err == nil {
		err = boundBuffers("tcp", "", raw)
	}
	return Inherited{ln}, err
}

// refuseNew binds a listening socket to an interface that does not exist. The kernel then refuses new connections but completes the
// handshakes that have begun. Since Linux 5.7 this requires no privileges (see ADR 16).
func refuseNew(ln net.Listener) error {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var bind error
	err = raw.Control(func(fd uintptr) {
		bind = os.NewSyscallError("setsockopt SO_BINDTOIFINDEX", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, noInterface))
	})
	return errors.Join(err, bind)
}

// queued reports whether a connection is waiting in a listener's queue.
func queued(ln net.Listener) bool {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	waiting := false
	_ = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		waiting = n > 0 && err == nil
	})
	return waiting
}

// drain waits until the last listener and the last client connection are closed.
func (p *Proxy) drain(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		left := p.closeIdle(time.Now(), p.current.Load().o.DrainGrace)
		if left == 0 {
			return nil
		}
		if left <= p.streams.count() {
			p.streams.cutAll() // only streams are left, and they would not end on their own
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// closeIdle closes the connections that have been idle between requests for at least grace, counted from the first call that found them
// idle. It returns the number of connections and listeners that are left.
func (p *Proxy) closeIdle(now time.Time, grace time.Duration) int {
	p.mu.Lock()
	var idle []*clientConn
	var http2 []*h2Conn
	busy := make(map[*h2Conn]bool) // connections that will end after their open streams, which are also in p.conns
	for c := range p.conns {
		if c.stream != nil {
			busy[c.stream.h] = true
		}
		if c.h2 != nil {
			http2 = append(http2, c.h2)
		}
		if ph := phase(c.phase.Load()); ph == phaseHeader || ph == phaseBody || ph == phaseStreams || ph == phaseTunnel {
			c.idleSince = time.Time{}
			continue
		}
		if c.idleSince.IsZero() {
			c.idleSince = now
		}
		if now.Sub(c.idleSince) < grace || c.watch.unread() {
			continue
		}
		for _, ph := range []phase{phaseNew, phaseIdle, phaseLinger} {
			if c.phase.CompareAndSwap(uint32(ph), uint32(phaseClosed)) {
				idle = append(idle, c)
			}
		}
	}
	left := len(p.conns) - len(busy) + len(p.listeners) - len(idle)
	p.mu.Unlock()
	for _, h := range http2 {
		h.goAway()
	}
	for _, c := range idle {
		_ = c.Close()
	}
	return left
}

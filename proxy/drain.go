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

// Shutting down without breaking a request that is already on its way.
//
// A listener that is closed resets the connections that wait in its queue, whose clients have sent their request. So the kernel
// is first told to make no new connections for it, then the queue is emptied, then the listener is closed. A client that
// connects meanwhile is refused, as it is from then on.
//
// A kept connection may carry the next request at any moment. For a while after the beginning of a shutdown it is therefore left
// open, so that this request is answered, with "Connection: close"; only one that stays silent is closed by the proxy.

// acceptQuiet is how long no connection may come out of a listener's queue for it to count as empty: time for the last packet
// of a handshake that had begun.
const acceptQuiet = 50 * time.Millisecond

// noInterface is the index of a network interface that no machine has.
const noInterface = 1<<31 - 1

// Listen gives a listener for Serve on a host:port. It speaks plain TCP: net.Listen's speaks Multipath TCP where the kernel can,
// and not every kernel binds such a socket to an interface, so that a shutdown would reset the connections in its queue.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	c.Control = boundBuffers
	return c.Listen(ctx, "tcp", address)
}

// refuseNew makes the kernel refuse new connections on a listening socket, and complete those whose handshake has begun: it binds
// the socket to an interface that does not exist. Since Linux 5.7 this takes no privilege (see ADR 16).
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

// stopAccepting has the accepting loop of ln empty the queue and end. Where the kernel cannot be told to refuse, the listener is
// closed at once, and the error says why: the connections in its queue are reset.
func stopAccepting(ln net.Listener) error {
	err := refuseNew(ln)
	if timed, ok := ln.(interface{ SetDeadline(time.Time) error }); ok && err == nil {
		err = timed.SetDeadline(time.Now().Add(acceptQuiet))
	}
	if err != nil {
		_ = ln.Close()
	}
	return err
}

// waitOn gives an accepting loop that has found a connection in the queue the time to find another.
func waitOn(ln net.Listener) {
	if timed, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		_ = timed.SetDeadline(time.Now().Add(acceptQuiet))
	}
}

// queued reports whether a connection waits in a listener's queue.
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
		left := p.closeIdle(time.Now(), p.lane.Load().o.DrainGrace)
		if left == 0 {
			return nil
		}
		if left <= p.streams.count() {
			p.streams.cutAll() // only what does not end by itself is left
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// closeIdle closes the connections that have been between requests for as long as grace, each counted from when it was first
// found so, and gives the number of connections and listeners that are left.
func (p *Proxy) closeIdle(now time.Time, grace time.Duration) int {
	p.mu.Lock()
	var idle []*clientConn
	for c := range p.conns {
		if ph := phase(c.phase.Load()); ph == phaseHeader || ph == phaseBody || ph == phaseTunnel {
			c.quiet = time.Time{}
			continue
		}
		if c.quiet.IsZero() {
			c.quiet = now
		}
		if now.Sub(c.quiet) < grace || c.unreadBytes() {
			continue
		}
		for _, ph := range []phase{phaseNew, phaseIdle, phaseLinger} {
			if c.phase.CompareAndSwap(uint32(ph), uint32(phaseClosed)) {
				idle = append(idle, c)
			}
		}
	}
	left := len(p.conns) + len(p.listeners) - len(idle)
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
	return left
}

// unreadBytes reports whether something waits to be read from the connection: the next request has arrived.
func (c *clientConn) unreadBytes() bool {
	if c.raw == nil {
		return false
	}
	unread := false
	_ = c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		unread = n > 0 && err == nil
	})
	return unread
}

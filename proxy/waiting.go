package proxy

import (
	"cmp"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/proxy/loop"
)

// A new connection for which there is no room waits for a short time until another one is closed. One goroutine handles all waiting
// connections. With one goroutine per connection, a thousand goroutines would compete for Proxy.mu, and other clients' requests would
// be scheduled after them.

const (
	// waitingMax limits the number of connections that are waiting or being refused. If there are more, connections from addresses with
	// high usage are closed without a response. If there are four times as many, all further connections are closed in this way.
	waitingMax = 256
	// admissionWait is how long a connection waits. Every admissionPause, the proxy checks whether there is room for it.
	admissionWait  = time.Second
	admissionPause = 5 * time.Millisecond
)

// waitingConn is a new connection that is waiting for room.
type waitingConn struct {
	c     *clientConn
	f     failure // why there is no room
	until time.Time
	rank  int // connections with a lower rank come first
}

// enqueue adds a connection to those that are waiting because they have not been admitted. It does not block.
func (a *admission) enqueue(c *clientConn, f failure) {
	p := a.p
	p.mu.Lock()
	turned := len(a.waiting) + a.rejecting
	if of := a.accounts[c.share.key]; turned >= 4*waitingMax || turned >= waitingMax && of != nil && !of.small(c.gen.o.MaxConns) {
		p.mu.Unlock()
		p.metrics.own.failed[f].Add(1)
		_ = c.Close()
		return
	}
	if len(a.waiting) == 0 {
		go a.serveWaiting()
	}
	a.waiting = append(a.waiting, waitingConn{c: c, f: f, until: time.Now().Add(admissionWait)})
	p.mu.Unlock()
}

// serveWaiting serves or rejects the waiting connections until none are left.
func (a *admission) serveWaiting() {
	p := a.p
	for left := true; left; {
		time.Sleep(admissionPause) // this runs on a goroutine, not on an event loop
		p.mu.Lock()
		found, refused := a.admitWaiting()
		left = len(a.waiting) > 0
		a.unlockAndClose()
		for _, w := range found {
			w.c.start()
		}
		for _, w := range refused {
			w.startReject()
		}
	}
}

// admitWaiting removes from the list the connections that can be admitted and those whose wait is over. Addresses with few silent
// connections come first. The caller must hold Proxy.mu.
func (a *admission) admitWaiting() (found, refused []waitingConn) {
	p := a.p
	for i := range a.waiting {
		w := &a.waiting[i]
		w.rank = 0
		if of := a.accounts[w.c.share.key]; of != nil && of.active() {
			w.rank = 1
		} else if of != nil {
			w.rank = 1 + of.silent
		}
	}
	slices.SortStableFunc(a.waiting, func(x, y waitingConn) int { return cmp.Compare(x.rank, y.rank) })
	now, rest := time.Now(), a.waiting[:0]
	clear(a.refused)
	for _, w := range a.waiting {
		f, tried := a.refused[w.c.share.key]
		if !tried { // searching for room is expensive, and a second connection of the same address would not find any either
			if f = a.admitLocked(w.c); f != failNone {
				a.refused[w.c.share.key] = f
			}
		}
		switch w.f = f; {
		case w.f == failNone:
			found = append(found, w)
		case p.closing.Load() || now.After(w.until) || !a.worthWaiting(w):
			refused = append(refused, w)
		default:
			rest = append(rest, w)
		}
	}
	clear(a.waiting[len(rest):])
	a.waiting = rest
	a.rejecting += len(refused)
	return found, refused
}

// worthWaiting reports whether there may soon be room for a connection. If its address has low usage, it can displace other
// connections. Otherwise there must be connections that can be closed to make room. The caller must hold Proxy.mu.
func (a *admission) worthWaiting(w waitingConn) bool {
	of := a.accounts[w.c.share.key]
	if of == nil || of.small(w.c.gen.o.MaxConns) {
		return true
	}
	if w.f == failConns {
		of = nil
	}
	return a.giveWayLocked(of, false)
}

// startReject runs reject without blocking the caller.
func (w waitingConn) startReject() {
	c := w.c
	if c.kind == listenerTLS { // a handshake would cost too much for a refusal
		go w.rejectSilently()
	} else if conn, ok := c.Conn.(*loop.Conn); ok {
		conn.Start(func() { c.driver.run(w.reject) })
	} else {
		go w.reject()
	}
}

// rejectSilently closes a connection without a response.
func (w waitingConn) rejectSilently() {
	defer w.rejected()
	p := w.c.root
	w.c.warn(w.f)
	p.tls.failed[handshakeNoRoom].Add(1)
	p.metrics.own.failed[w.f].Add(1)
}

// reject sends a response on a connection without reading its request, and records the response.
func (w waitingConn) reject() {
	defer w.rejected()
	c := w.c
	c.warn(w.f)
	if !c.phase.CompareAndSwap(uint32(phaseNew), uint32(phaseBody)) {
		return
	}
	c.withReader(func() bool {
		c.rejectNow(w.f)
		return false
	})
}

// rejected closes a connection that has been rejected.
func (w waitingConn) rejected() {
	p := w.c.root
	_ = w.c.Close()
	p.mu.Lock()
	p.admission.rejecting--
	p.mu.Unlock()
}

// rejectNow does the work of waitingConn.reject. The connection must have a reader and be in phaseBody.
func (c *clientConn) rejectNow(f failure) {
	x := c.x
	x.begin()
	x.ev.describe(&x.req)
	x.ev.Method, x.ev.Path, x.ev.Protocol = nil, nil, nil
	x.reply.closeAfter, x.upload.unread = true, true
	x.answer(f)
	c.finish(true)
}

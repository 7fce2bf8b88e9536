package proxy

import (
	"cmp"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/proxy/loop"
)

// A new connection for which there is no room waits a moment until another gives way. One goroutine serves all that wait. If each had
// its own, they would compete for Proxy.mu, and the requests of others would be scheduled behind a thousand of them.

const (
	// waitingMax limits the connections that wait or are being refused. Beyond it, connections of addresses that use much are closed
	// without an answer, and beyond four times as many all are.
	waitingMax = 256
	// admissionWait is how long a connection waits. It is tried again after each admissionPause.
	admissionWait  = time.Second
	admissionPause = 5 * time.Millisecond
)

// waitingConn is a new connection that waits for room.
type waitingConn struct {
	c     *clientConn
	f     failure // why there is no room
	until time.Time
	rank  int // connections with a lower rank come first
}

// enqueue adds a connection that was not admitted to the waiting ones. It does not block.
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

// serveWaiting serves or rejects the waiting connections until none is left.
func (a *admission) serveWaiting() {
	p := a.p
	for left := true; left; {
		time.Sleep(admissionPause) // this is a goroutine, not a loop
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
// connections come first. Proxy.mu is held.
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
		if !tried { // looking for room is expensive; there is none for another connection of the same address
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

// worthWaiting reports whether there may be room for a connection soon. If its address uses little, it can displace others. Otherwise
// there must be connections that give way. Proxy.mu is held.
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

// startReject runs reject. It does not block.
func (w waitingConn) startReject() {
	c := w.c
	if c.kind == listenerTLS { // a handshake would cost more than the refusal is worth
		go w.rejectSilently()
	} else if conn, ok := c.Conn.(*loop.Conn); ok {
		conn.Start(func() { c.driver.run(w.reject) })
	} else {
		go w.reject()
	}
}

// rejectSilently closes a connection without an answer.
func (w waitingConn) rejectSilently() {
	defer w.rejected()
	p := w.c.root
	w.c.warn(w.f)
	p.tls.failed[handshakeNoRoom].Add(1)
	p.metrics.own.failed[w.f].Add(1)
}

// reject answers a connection without reading its request, and records the answer.
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

// rejected closes the connection.
func (w waitingConn) rejected() {
	p := w.c.root
	_ = w.c.Close()
	p.mu.Lock()
	p.admission.rejecting--
	p.mu.Unlock()
}

// rejectNow is waitingConn.reject for a connection with a reader, in phaseBody.
func (c *clientConn) rejectNow(f failure) {
	x := c.x
	x.begin()
	x.ev.describe(&x.req)
	x.ev.Method, x.ev.Path, x.ev.Protocol = nil, nil, nil
	x.reply.closeAfter, x.upload.unread = true, true
	x.answer(f)
	c.finish(true)
}

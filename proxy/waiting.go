package proxy

import (
	"cmp"
	"slices"
	"time"
)

// A connection for which there is no place waits a moment for another to give way. One goroutine looks for all that wait: if each looked for
// itself, they would take turns at Proxy.mu, and the requests of others would be scheduled behind a thousand of them.

const (
	// waitingMax bounds the connections that wait or are told that there is no place; beyond it, those of addresses that have much are
	// closed without a word, and beyond four times as many all are.
	waitingMax = 256
	// placeWait is how long a connection waits; after each placePause its turn comes again.
	placeWait  = time.Second
	placePause = 5 * time.Millisecond
)

// newcomer is a connection that waits for a place.
type newcomer struct {
	c     *clientConn
	f     failure // why it has none
	until time.Time
	rank  int // its turn: the least first
}

// await puts a connection that was not admitted among those that wait. It does not wait itself.
func (p *Proxy) await(c *clientConn, f failure) {
	p.mu.Lock()
	a := &p.admission
	turned := len(a.waiting) + a.refusing
	if of := a.accounts[c.key]; turned >= 4*waitingMax || turned >= waitingMax && of != nil && !p.small(of, c.p.o.MaxConns) {
		p.mu.Unlock()
		p.metrics.own.failed[f].Add(1)
		_ = c.Close()
		return
	}
	if len(a.waiting) == 0 {
		go p.findPlaces()
	}
	a.waiting = append(a.waiting, newcomer{c: c, f: f, until: time.Now().Add(placeWait)})
	p.mu.Unlock()
}

// findPlaces serves or refuses the connections that wait, until none is left.
func (p *Proxy) findPlaces() {
	for left := true; left; {
		time.Sleep(placePause)
		p.mu.Lock()
		found, refused := p.sortOut()
		left = len(p.admission.waiting) > 0
		p.unlockAndEnd()
		for _, w := range found {
			go w.c.serve()
		}
		for _, w := range refused {
			go w.c.turnAway(w.f)
		}
	}
}

// sortOut takes those that wait no longer from the list: an address that lets the proxy wait on few connections comes first. Proxy.mu is held.
func (p *Proxy) sortOut() (found, refused []newcomer) {
	a := &p.admission
	for i := range a.waiting {
		w := &a.waiting[i]
		w.rank = 0
		if of := a.accounts[w.c.key]; of != nil && of.lively() {
			w.rank = 1
		} else if of != nil {
			w.rank = 1 + of.silent
		}
	}
	slices.SortStableFunc(a.waiting, func(x, y newcomer) int { return cmp.Compare(x.rank, y.rank) })
	now, rest := time.Now(), a.waiting[:0]
	for _, w := range a.waiting {
		switch w.f = p.admitLocked(w.c); {
		case w.f == failNone:
			found = append(found, w)
		case p.closing.Load() || now.After(w.until) || !p.mayFind(w):
			refused = append(refused, w)
		default:
			rest = append(rest, w)
		}
	}
	clear(a.waiting[len(rest):])
	a.waiting = rest
	a.refusing += len(refused)
	return found, refused
}

// mayFind reports whether there can be a place for a connection soon. One whose address has few displaces others when it can; for the rest
// those that the proxy has waited for long give way. Proxy.mu is held.
func (p *Proxy) mayFind(w newcomer) bool {
	of := p.admission.accounts[w.c.key]
	if of == nil || p.small(of, w.c.p.o.MaxConns) {
		return true
	}
	if w.f == failConns {
		of = nil
	}
	return p.giveWayLocked(of, false)
}

// turnAway answers a connection without reading its request, and records the answer.
func (c *clientConn) turnAway(f failure) {
	p := c.root
	defer func() {
		_ = c.Close()
		p.mu.Lock()
		p.admission.refusing--
		p.mu.Unlock()
	}()
	c.warn(f)
	if !c.phase.CompareAndSwap(uint32(phaseNew), uint32(phaseBody)) {
		return
	}
	c.withReader(func() {
		x := &c.x
		x.begin()
		x.describe()
		x.ev.Method, x.ev.Path, x.ev.Protocol = nil, nil, nil
		x.closeAfter, x.unread = true, true
		x.answer(f)
		c.finish()
	})
}

package proxy

import (
	"net/netip"
)

// Limits that protect the proxy from its clients: the number of connections, and the time a body may take.

// turnedAwayMax bounds the connections beyond the limit that are being told so; still more are closed without a word.
const turnedAwayMax = 256

// admission counts connections. Guarded by Proxy.mu.
type admission struct {
	conns     int // admitted and open
	turned    int // being turned away
	byAddress map[netip.Addr]int
}

// admit counts a new connection, or says why it cannot be had.
func (p *Proxy) admit(c *clientConn) failure {
	o := &c.p.o
	c.key = limitKey(c.addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	a := &p.admission
	if o.MaxConns > 0 && a.conns >= o.MaxConns {
		return failConns
	}
	if o.MaxConnsPerAddress > 0 && c.key.IsValid() && !c.trusted {
		if a.byAddress[c.key] >= o.MaxConnsPerAddress {
			return failAddressConns
		}
	}
	if c.key.IsValid() {
		if a.byAddress == nil {
			a.byAddress = make(map[netip.Addr]int)
		}
		a.byAddress[c.key]++
	}
	a.conns++
	c.admitted = true
	return failNone
}

// limitKey is the address that connections are counted under: an IPv6 /64 is one client.
func limitKey(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return addr
}

// leave is the end of an admitted connection. Proxy.mu is held.
func (a *admission) leave(c *clientConn) {
	if !c.admitted {
		return
	}
	c.admitted = false
	a.conns--
	if !c.key.IsValid() {
		return
	}
	if a.byAddress[c.key]--; a.byAddress[c.key] == 0 {
		delete(a.byAddress, c.key)
	}
}

// turnAway answers a connection that was not admitted, without reading its request, and records the answer.
func (c *clientConn) turnAway(f failure) {
	p := c.root
	defer func() { _ = c.Close() }()
	p.mu.Lock()
	full := p.admission.turned >= turnedAwayMax
	if !full {
		p.admission.turned++
	}
	p.mu.Unlock()
	if full {
		p.metrics.own.failed[f].Add(1)
		return
	}
	defer func() {
		p.mu.Lock()
		p.admission.turned--
		p.mu.Unlock()
	}()
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

// pace bounds the time that a client may take for a request's body: only the time spent waiting for it counts.
type pace struct {
	waited int64 // nanoseconds
	read   int64 // bytes
}

// deadline is when the body has to go on, so that on average it arrives at rateMin bytes a second once grace has passed.
func (b *pace) deadline(s *sweeper, rateMin, grace int64) int64 {
	allowed := grace + b.read*int64(1e9)/rateMin - b.waited
	return s.now.Load() + s.tick.Load() + max(allowed, 0)
}

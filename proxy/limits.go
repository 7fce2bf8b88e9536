package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Limits that protect the proxy, and its clients from each other. Three things are shared by all clients: the connections from
// them, the connections to the upstream, and the memory for unfinished headers and buffered bodies. One rule divides each: an
// eighth is for addresses that use little, and of the rest an address may use at most twice as much as it leaves free. So one
// address gets 58 % if it is alone, eight get 10 % each, and there is always something left for the next. If there is no room, the
// connections that the proxy has waited for longest give way: those of the address itself if it uses much, else those of any.

const (
	// headBytesFree is what each connection may hold without being counted: its header, as most are.
	headBytesFree = clientReadBytes
	// giveWayAfter is how long the proxy has to have waited for a client before it gives way, beyond the time in which its bytes
	// would have come at slowBytesPerSecond.
	giveWayAfter       = int64(time.Second)
	slowBytesPerSecond = 4 << 10
	// giveWayAtOnce and giveWayPause bound the work of looking for connections that give way.
	giveWayAtOnce = 8
	giveWayPause  = 10 * time.Millisecond
	// firstByteWithin is the time after which a connection without a whole header can be displaced.
	firstByteWithin = 100 * time.Millisecond
	// smallShare is the part of all connections below which an address may displace those of others, and lookShare the part of the
	// time that may go into looking for such. On a busy machine it seems to take longer than it does, hence lookPauseMax.
	smallShare, lookShare = 16, 20
	lookPauseMax          = 5 * giveWayPause
	// tunnelShare is the part of all connections up to which upgrades are passed on: what is upgraded may be silent for long and does
	// not give way.
	tunnelShare = 2
	// warnPause is the least time between two lines of the log on limits.
	warnPause = 10 * time.Second
)

// account is what the clients of one address use. An IPv6 /64 is one address.
type account struct {
	conns    int          // guarded by Proxy.mu
	silent   int          // guarded by Proxy.mu; connections without any answer so far, or that the proxy waited for, when it looked last
	live     int          // guarded by Proxy.mu; the others, except upgraded ones
	upstream atomic.Int64 // connections to the upstream; changed under the pool's lock
	held     atomic.Int64 // bytes
}

// within is the rule: whether a user of so much may have more of what others share.
func within(uses, more, total, limit int64) bool {
	free := limit - total
	return more <= free && (uses+more <= little(limit) || uses+more <= 2*(free-limit/8))
}

// little is what an address may use as long as there is any.
func little(limit int64) int64 { return limit / 128 }

// admission counts connections. Guarded by Proxy.mu.
type admission struct {
	conns        int        // admitted and open
	waiting      []newcomer // for a place
	refusing     int        // being told that there is none
	accounts     map[netip.Addr]*account
	looked       time.Time     // when connections were last looked for that give way
	listed       time.Time     // when displaceable was made
	listing      time.Duration // how long that took
	displaceable []debtor      // that are displaced next, the first first
	leaving      int           // displaced, and not closed yet
	ending       []*clientConn // that give way as soon as Proxy.mu is free
	warned       time.Time     // of the last line of the log
}

// admit counts a new connection, or says why it cannot be had.
func (p *Proxy) admit(c *clientConn) failure {
	p.mu.Lock()
	defer p.unlockAndEnd()
	return p.admitLocked(c)
}

func (p *Proxy) admitLocked(c *clientConn) failure {
	o, a := &c.p.o, &p.admission
	c.key = limitKey(c.addr)
	used := a.accounts[c.key]
	if used == nil {
		used = &account{}
	}
	alone := c.key.IsValid() && !c.trusted
	switch {
	case alone && o.MaxConnsPerAddress > 0 && used.conns >= o.MaxConnsPerAddress:
		return failAddressConns
	case o.MaxConns > 0 && a.conns >= o.MaxConns:
		if !p.displace(used, o.MaxConns) {
			return failConns
		}
	case alone && o.MaxConns > 0 && used.conns >= o.MaxConns/smallShare/2 && !within(int64(used.conns), 1, int64(a.conns), int64(o.MaxConns)):
		if !p.displace(used, o.MaxConns) {
			return failAddressConns
		}
	}
	if c.key.IsValid() {
		if a.accounts == nil {
			a.accounts = make(map[netip.Addr]*account)
		}
		a.accounts[c.key] = used
		used.conns++
		c.account = used
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

// leave is the end of an admitted connection. Proxy.mu is held. What its exchange still uses is counted in the account, which
// lives on without the map.
func (a *admission) leave(c *clientConn) {
	if !c.admitted {
		return
	}
	c.admitted = false
	a.conns--
	if c.account == nil {
		return
	}
	if c.account.conns--; c.account.conns == 0 {
		delete(a.accounts, c.key)
	}
}

// sharer is the account that the connection's share is counted in, or nil if it has none: a trusted proxy speaks for many.
func (c *clientConn) sharer() *account {
	if c.trusted {
		return nil
	}
	return c.account
}

// giveWay ends the connections that the proxy has waited for longest: of one address or, if that is nil, of all; if upstream is
// set, only those whose request is on its way to the upstream.
func (p *Proxy) giveWay(of *account, upstream bool) {
	p.mu.Lock()
	defer p.unlockAndEnd()
	p.giveWayLocked(of, upstream)
}

// giveWayLocked reports whether there were any, or have been a moment ago. The caller holds mu.
func (p *Proxy) giveWayLocked(of *account, upstream bool) bool {
	now := p.sweeper.now.Load()
	if time.Since(p.admission.looked) < giveWayPause {
		return true
	}
	p.admission.looked = time.Now()
	var all []debtor
	for c := range p.conns {
		ph := phase(c.phase.Load())
		if of != nil && c.account != of || !c.admitted || ph == phaseTunnel || upstream && ph != phaseBody && c.login.Load() == nil {
			continue
		}
		if owes := c.owes(now); owes >= giveWayAfter {
			d := debtor{c: c, owes: owes}
			if c.account != nil {
				d.rank = c.account.conns
			}
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b debtor) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.owes, a.owes)) })
	for _, d := range all[:min(len(all), giveWayAtOnce)] {
		p.endGivingWay(d.c)
	}
	return len(all) > 0
}

// warn logs that clients are refused, once in a while.
func (c *clientConn) warn(f failure) {
	p := c.root
	p.mu.Lock()
	due := p.admission.warned.IsZero() || time.Since(p.admission.warned) >= warnPause
	if due {
		p.admission.warned = time.Now()
	}
	p.mu.Unlock()
	if due {
		c.p.o.Logger.Warn("refusing clients to protect the others; wayside_proxy_failures_total counts them by reason", "reason", f.String(), "client", string(c.client))
	}
}

// hold counts bytes of the connection's buffers beyond those that each may have, and reports whether it may have them. They are
// given back by letGo.
func (c *clientConn) hold(n int64) bool {
	limit := c.p.o.MaxHeldBytes
	if c.account == nil || n <= 0 {
		return true
	}
	total := c.root.held.Add(n)
	uses := c.account.held.Add(n)
	if limit > 0 && (total > limit || !c.trusted && !within(uses-n, n, total-n, limit)) {
		c.root.held.Add(-n)
		c.account.held.Add(-n)
		return false
	}
	c.held += n
	return true
}

// holdUpTo is hold for a buffer that has grown to so many bytes.
func (c *clientConn) holdUpTo(size int) bool {
	if c.hold(int64(size) - headBytesFree - c.held) {
		return true
	}
	c.root.giveWay(c.sharer(), false)
	c.warn(failMemory)
	return false
}

func (c *clientConn) letGo() {
	if c.held > 0 {
		c.root.held.Add(-c.held)
		c.account.held.Add(-c.held)
		c.held = 0
	}
}

// patience is how long the proxy has waited for a client in one direction, in its present request or since the last one.
type patience struct {
	began  atomic.Int64 // sweeper time at which the present wait began; 0: none
	waited atomic.Int64 // nanoseconds of earlier waits, less those that the bytes which came may take
}

func (w *patience) begin(now int64) { w.began.Store(now) }

func (w *patience) end(now int64, n int) {
	was := w.waited.Load()
	if is := max(was+now-w.began.Load()-int64(n)*int64(time.Second)/slowBytesPerSecond, 0); is != was {
		w.waited.Store(is)
	}
	w.began.Store(0)
}

func (w *patience) owes(now int64) int64 {
	owes := w.waited.Load()
	if began := w.began.Load(); began > 0 {
		owes += now - began
	}
	return owes
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

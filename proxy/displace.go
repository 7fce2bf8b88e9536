package proxy

import (
	"cmp"
	"slices"
	"time"
)

// Without room, a connection from an address that has few takes the place of one that says nothing, of the address that has most of those.
// So a client finds a place at once however many addresses fill the others, and addresses that do so end up with equal numbers.

// debtor is a connection whose client the proxy waits for.
type debtor struct {
	c     *clientConn
	owed  int64 // when it was listed, and in which phase
	phase phase
	owes  int64
	rank  int // how many connections its address has that are counted as silent and owe no more, this one included
}

// small reports whether an address has so few connections that it may displace those of others. Proxy.mu is held.
func (*Proxy) small(of *account, limit int) bool { return of.conns < max(limit/smallShare, 1) }

// lively reports whether an address uses more connections than it lets the proxy wait on. Its newcomers come first. Proxy.mu is held.
func (of *account) lively() bool { return of.live > of.silent }

// displace makes room for a connection from an address that has few: the address that lets the proxy wait on most connections loses
// the one that it has waited for longest, however short that is. Proxy.mu is held. It reports whether a place is free now.
func (p *Proxy) displace(by *account, limit int) bool {
	a := &p.admission
	// Two more than the newcomer's address has: then that has fewer afterwards too, and nobody's returns at once.
	least, leavingMax, reserve := by.silent+2, giveWayAtOnce, giveWayAtOnce
	switch {
	case by.lively():
		least, leavingMax, reserve = by.silent+1, 2*giveWayAtOnce, 0
	case by.conns == 0:
		reserve = 0
	}
	if !p.small(by, limit) || a.leaving >= leavingMax {
		return false
	}
	now := p.sweeper.now.Load()
	for fresh := false; ; fresh = true {
		for len(a.displaceable) > reserve {
			i := slices.IndexFunc(a.displaceable, func(d debtor) bool { return d.rank >= least || d.owes >= giveWayAfter })
			if i < 0 {
				break
			}
			d := a.displaceable[i]
			a.displaceable = slices.Delete(a.displaceable, i, i+1)
			if !d.c.admitted || !d.c.waitedFor() || phase(d.c.phase.Load()) != d.phase || d.c.owes(now) < d.owed { // it has gone on since
				continue
			}
			by.silent++
			a.leave(d.c)
			d.c.displaced = true
			a.leaving++
			p.endGivingWay(d.c)
			return true
		}
		if fresh || time.Since(a.listed) < min(max(giveWayPause, lookShare*a.listing), lookPauseMax) {
			return false
		}
		p.listDisplaceable(now)
	}
}

// listDisplaceable finds those that displace takes. Proxy.mu is held.
func (p *Proxy) listDisplaceable(now int64) {
	a := &p.admission
	began := time.Now()
	for _, used := range a.accounts {
		used.silent, used.live = 0, 0
	}
	all := a.displaceable[:0]
	least := 2 * p.sweeper.tick.Load() // the clock's steps are as long, and may be late
	for c := range p.conns {
		if !c.admitted || phase(c.phase.Load()) == phaseTunnel {
			continue
		}
		used, owes := c.sharer(), c.owes(now)
		if ph := phase(c.phase.Load()); ph <= phaseHeader && !c.answered.Load() {
			if age := began.Sub(c.accepted); age > firstByteWithin {
				owes = max(owes, min(least+int64(age), giveWayAfter-1))
			}
		}
		switch {
		case owes >= least && c.waitedFor():
			all = append(all, debtor{c: c, owes: owes, owed: c.owes(now), phase: phase(c.phase.Load())})
		case used != nil && (owes >= least || !c.answered.Load()):
			used.silent++
		case used != nil:
			used.live++
		}
	}
	slices.SortFunc(all, func(a, b debtor) int { return cmp.Compare(a.owes, b.owes) })
	for i := range all {
		if used := all[i].c.sharer(); used != nil {
			used.silent++
			all[i].rank = used.silent
		}
	}
	slices.SortStableFunc(all, func(a, b debtor) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.owes, a.owes)) })
	clear(all[min(len(all), 4*giveWayAtOnce):])
	a.displaceable = all[:min(len(all), 4*giveWayAtOnce)]
	a.listed = time.Now()
	a.listing = a.listed.Sub(began)
}

// waitedFor reports whether the proxy waits for the client now, so that the connection would end at once.
func (c *clientConn) waitedFor() bool {
	return c.reading.began.Load() > 0 || c.writing.began.Load() > 0
}

// endGivingWay ends a connection for the sake of others, when unlockAndEnd is called. Proxy.mu is held.
func (p *Proxy) endGivingWay(c *clientConn) {
	c.gaveWay.Store(true)
	p.admission.ending = append(p.admission.ending, c)
	p.metrics.own.failed[failGaveWay].Add(1)
}

// unlockAndEnd unlocks Proxy.mu and ends those that give way: that wakes their goroutines, which need the lock.
func (p *Proxy) unlockAndEnd() {
	ending := p.admission.ending
	p.admission.ending = nil
	p.mu.Unlock()
	for _, c := range ending {
		c.limits.end()
	}
}

// owes is how long the proxy has waited for the client, in the direction in which it waited longer.
func (c *clientConn) owes(now int64) int64 { return max(c.reading.owes(now), c.writing.owes(now)) }

package proxy

import (
	"cmp"
	"slices"
	"time"
)

// If there is no room, a connection from an address with few connections displaces a silent connection of the address that has the most
// silent ones. So a client with few connections is admitted immediately, no matter how many addresses occupy the rest of the room, and
// those addresses end up with equal shares.

// candidate is a connection that may be closed to make room because the proxy is waiting for its client.
type candidate struct {
	c          *clientConn
	listedWait int64 // how long the proxy had waited for the client when the candidate was listed
	phase      phase
	waited     int64
	rank       int // number of silent connections of its address, including itself, for which the proxy has waited no longer than for this one
}

// small reports whether an address has so few connections that it may displace other addresses' connections. The caller must hold
// Proxy.mu.
func (of *account) small(limit int) bool { return of.conns < max(limit/smallShare, 1) }

// active reports whether an address has more live connections than silent ones. New connections of active addresses are served first. The
// caller must hold Proxy.mu.
func (of *account) active() bool { return of.live > of.silent }

// displace makes room for a connection of an address that has few connections. The address with the most silent connections loses the one
// for which the proxy has waited longest, even if that wait was short. displace reports whether there is room now. The caller must hold
// Proxy.mu.
func (a *admission) displace(by *account, limit int) bool {
	p := a.p
	// The address must have at least two more silent connections than the address of the new connection. Then, after losing one, it still
	// has at least as many as the other address, and the two addresses do not displace each other's connections in turn.
	least, displacingMax, reserve := by.silent+2, giveWayAtOnce, giveWayAtOnce
	switch {
	case by.active():
		least, displacingMax, reserve = by.silent+1, 2*giveWayAtOnce, 0
	case by.conns == 0:
		reserve = 0
	}
	if !by.small(limit) || a.displacing >= displacingMax {
		return false
	}
	now := p.sweeper.now.Load()
	for fresh := false; ; fresh = true {
		for len(a.displaceable) > reserve {
			i := slices.IndexFunc(a.displaceable, func(d candidate) bool { return d.rank >= least || d.waited >= giveWayAfter })
			if i < 0 {
				break
			}
			d := a.displaceable[i]
			a.displaceable = slices.Delete(a.displaceable, i, i+1)
			// Skip a connection that has been active since it was listed.
			if !d.c.share.admitted || !d.c.waitedFor() || phase(d.c.phase.Load()) != d.phase || d.c.waitTime(now) < d.listedWait {
				continue
			}
			by.silent++
			a.remove(d.c)
			d.c.share.displaced = true
			a.displacing++
			a.markForClose(d.c)
			return true
		}
		if fresh || time.Since(a.listedAt) < min(max(giveWayPause, lookShare*a.listingTook), lookPauseMax) {
			return false
		}
		a.listDisplaceable(now)
	}
}

// listDisplaceable lists the candidates for displace. The caller must hold Proxy.mu.
func (a *admission) listDisplaceable(now int64) {
	p := a.p
	began := time.Now()
	for _, used := range a.accounts {
		used.silent, used.live = 0, 0
	}
	all := a.displaceable[:0]
	least := 2 * p.sweeper.tick.Load() // the clock advances in ticks, and a tick may be late
	for c := range p.conns {
		if !c.share.admitted || phase(c.phase.Load()) == phaseTunnel {
			continue
		}
		used, waited := c.share.limits(), c.waitTime(now)
		if ph := phase(c.phase.Load()); ph <= phaseHeader && !c.answered.Load() {
			if age := began.Sub(c.accepted); age > firstByteWithin {
				waited = max(waited, min(least+int64(age), giveWayAfter-1))
			}
		}
		switch {
		case waited >= least && c.waitedFor():
			all = append(all, candidate{c: c, waited: waited, listedWait: c.waitTime(now), phase: phase(c.phase.Load())})
		case used != nil && (waited >= least || !c.answered.Load()):
			used.silent++
		case used != nil:
			used.live++
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.waited, b.waited) })
	for i := range all {
		if used := all[i].c.share.limits(); used != nil {
			used.silent++
			all[i].rank = used.silent
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.waited, a.waited)) })
	clear(all[min(len(all), 4*giveWayAtOnce):])
	a.displaceable = all[:min(len(all), 4*giveWayAtOnce)]
	a.listedAt = time.Now()
	a.listingTook = a.listedAt.Sub(began)
}

// markForClose marks a connection that unlockAndClose will end to make room. The caller must hold Proxy.mu.
func (a *admission) markForClose(c *clientConn) {
	p := a.p
	c.gaveWay.Store(true)
	a.toClose = append(a.toClose, c)
	p.metrics.own.failed[failGaveWay].Add(1)
}

// unlockAndClose unlocks Proxy.mu and then ends the marked connections. The lock is released first, because ending a connection wakes its
// goroutine, which needs the lock.
func (a *admission) unlockAndClose() {
	p := a.p
	ending := a.toClose
	a.toClose = nil
	p.mu.Unlock()
	for _, c := range ending {
		c.limits.end()
	}
}

package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// resolveTimeout limits one lookup of the upstream's name.
const resolveTimeout = 5 * time.Second

// upstream holds the counters of an upstream. It outlives the pools that connect to it.
type upstream struct {
	tally
	health        upstreamHealth
	connects      counter
	connectErrors counter
	firstByte     [len(firstByteBounds) + 1]counter // one per bound, not cumulative
	firstByteSum  counter                           // microseconds
}

// firstByteBounds are the upper bounds of the histogram of times to the first byte, in microseconds.
var firstByteBounds = [...]uint64{100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000}

// observe counts the time to a response's first byte.
func (u *upstream) observe(micros uint64) {
	i := 0
	for i < len(firstByteBounds) && micros > firstByteBounds[i] {
		i++
	}
	u.firstByte[i].Add(1)
	u.firstByteSum.Add(int64(micros))
}

// upstreamOf returns the counters of an upstream by its name. It creates them if necessary.
func (p *Proxy) upstreamOf(name string) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.upstreams[name]
	if u == nil {
		u = &upstream{}
		p.upstreams[name] = u
	}
	return u
}

// upstreamAddrs looks an upstream's name up at intervals, so that connections to addresses that the name no longer has are not used
// for another request. Dialling does not use it: it looks the name up again.
type upstreamAddrs struct {
	host     string // empty if the upstream is an address
	every    time.Duration
	resolver *net.Resolver
	next     int64 // sweeper time of the next lookup; owned by the sweeper's goroutine
	busy     atomic.Bool
	current  atomic.Pointer[[]netip.Addr] // result of the last lookup; nil: none yet
}

// newUpstreamAddrs prepares lookups of the host of address. It starts none.
func newUpstreamAddrs(network, address string, every time.Duration, resolver *net.Resolver) *upstreamAddrs {
	n := &upstreamAddrs{every: every, resolver: resolver}
	if host, _, err := net.SplitHostPort(address); err == nil && network == "tcp" {
		if _, err := netip.ParseAddr(host); err != nil {
			n.host = host
		}
	}
	if n.resolver == nil {
		n.resolver = net.DefaultResolver
	}
	return n
}

// refresh starts a lookup in the background if it is time for one.
func (n *upstreamAddrs) refresh(p *Proxy, pool *pool) {
	now := p.sweeper.now.Load()
	if n.host == "" || n.every <= 0 || now < n.next || n.busy.Swap(true) {
		return
	}
	n.next = now + int64(n.every)
	p.background.Go(func() {
		defer n.busy.Store(false)
		ctx, cancel := context.WithTimeout(p.stopped, resolveTimeout)
		defer cancel()
		found, err := n.resolver.LookupNetIP(ctx, "ip", n.host)
		if err != nil || len(found) == 0 {
			return // keep the addresses that are known
		}
		for i := range found {
			found[i] = found[i].Unmap()
		}
		n.current.Store(&found)
		pool.discardIdle(n.stale)
	})
}

// stale reports whether the name no longer has this connection's address.
func (n *upstreamAddrs) stale(u *upstreamConn) bool {
	current := n.current.Load()
	return current != nil && u.addr.IsValid() && !slices.Contains(*current, u.addr)
}

// connect returns the client's pinned connection, a dedicated one for an upgrade, or one of the pool.
func (x *exchange) connect() (*upstreamConn, error) {
	if u := x.c.takePinned(); u != nil {
		return u, nil
	}
	if x.upgrading {
		return x.c.gen.pool.dialDedicated(x.c.driver)
	}
	return x.c.gen.pool.get(x.c.driver, x.c.shareAccount(), x.c)
}

// releaseUpstream returns the connection to the pool, or closes it if it cannot carry another request.
func (x *exchange) releaseUpstream(closes bool) {
	u := x.up
	if u == nil {
		return
	}
	if closes || x.upBroken || x.resp.Closes() || x.upload.ended != nil || x.awaitingContinue {
		x.dropUpstream()
		return
	}
	if !x.c.takeBack() {
		x.dropUpstream()
		return
	}
	switch {
	case x.resp.ConnectionAuth || u.pinned:
		x.up = nil
		x.c.pinUpstream(u)
	case x.head.ConnectionAuth: // the service may have authenticated the connection as this client
		x.dropUpstream()
	default:
		x.up = nil
		x.c.gen.pool.put(u)
	}
}

// dropUpstream closes the connection.
func (x *exchange) dropUpstream() {
	if x.up != nil {
		x.c.takeBack()
		x.c.gen.pool.discard(x.up)
		x.up = nil
	}
}

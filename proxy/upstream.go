package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// resolveTimeout bounds one look-up of the upstream's name.
const resolveTimeout = 5 * time.Second

// upstream is what outlives the pools that lead to it: its figures.
type upstream struct {
	tally
	trouble       trouble
	connects      counter
	connectErrors counter
	firstByte     [len(firstByteBounds) + 1]counter // by bound, not cumulative
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

// upstreamOf finds the figures of an upstream by its name, or begins them.
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

// names looks an upstream's name up again and again. Connections to an address that the name no longer has are not used for
// another request; new ones go where the name leads at that moment anyway.
type names struct {
	host     string // empty: an address, which needs no look-up
	every    time.Duration
	resolver *net.Resolver
	next     int64 // sweeper time of the next look-up; owned by the sweeper's goroutine
	busy     atomic.Bool
	current  atomic.Pointer[[]netip.Addr] // nil: not known yet
}

// newNames gives one for the host of address.
func newNames(network, address string, every time.Duration, resolver *net.Resolver) *names {
	n := &names{every: every, resolver: resolver}
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

// refresh starts a look-up in the background when it is time for one.
func (n *names) refresh(p *Proxy, pool *pool) {
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
			return // the addresses that served so far are better than none
		}
		for i := range found {
			found[i] = found[i].Unmap()
		}
		n.current.Store(&found)
		pool.dropStale()
	})
}

// stale reports whether the name no longer leads to this connection's address.
func (n *names) stale(u *upstreamConn) bool {
	current := n.current.Load()
	return current != nil && u.addr.IsValid() && !slices.Contains(*current, u.addr)
}

// dropStale closes the idle connections whose address the name no longer has.
func (p *pool) dropStale() {
	p.mu.Lock()
	var gone []*upstreamConn
	p.idle = slices.DeleteFunc(p.idle, func(u *upstreamConn) bool {
		if !p.names.stale(u) {
			return false
		}
		gone = append(gone, u)
		return true
	})
	p.mu.Unlock()
	for _, u := range gone {
		p.discard(u)
	}
}

// connect gives the connection that belongs to this client, one of the pool, or one of its own for an upgrade.
func (x *exchange) connect() (*upstreamConn, error) {
	if u := x.c.takeLogin(); u != nil {
		return u, nil
	}
	if x.upgrading {
		return x.c.p.pool.dialApart()
	}
	return x.c.p.pool.get(x.c.sharer())
}

// releaseUpstream gives the connection back to the pool, or closes it when it cannot carry another request.
func (x *exchange) releaseUpstream(closes bool) {
	u := x.up
	if u == nil {
		return
	}
	if closes || x.upBroken || x.resp.closes() || x.upload.done != nil || x.asking {
		x.dropUpstream()
		return
	}
	if !x.c.claim() {
		x.dropUpstream()
		return
	}
	switch {
	case x.resp.login || u.login:
		x.up = nil
		x.c.keepLogin(u)
	case x.head.loggingIn: // the service may take whoever comes next over this connection for this client
		x.dropUpstream()
	default:
		x.up = nil
		x.c.p.pool.put(u)
	}
}

// dropUpstream closes the connection.
func (x *exchange) dropUpstream() {
	if x.up != nil {
		x.c.claim()
		x.c.p.pool.discard(x.up)
		x.up = nil
	}
}

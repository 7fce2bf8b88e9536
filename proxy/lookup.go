package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// resolveTimeout limits one lookup of the upstream's name.
const resolveTimeout = 5 * time.Second

// upstreamAddrs looks up an upstream's name at intervals. Connections to addresses that the name no longer has are then not reused. Dialing
// does not use these results: it looks up the name again.
type upstreamAddrs struct {
	host     string // empty if the upstream is an address
	every    time.Duration
	resolver *net.Resolver // may be nil
	next     int64         // sweeper time of the next lookup; owned by the sweeper's goroutine
	busy     atomic.Bool
	current  atomic.Pointer[[]netip.Addr] // result of the last successful lookup; nil if there has been none
}

// newUpstreamAddrs prepares lookups of the host in address. It starts none.
func newUpstreamAddrs(network, address string, every time.Duration, resolver *net.Resolver) *upstreamAddrs {
	n := &upstreamAddrs{every: every, resolver: resolver}
	if host, _, err := net.SplitHostPort(address); err == nil && network == "tcp" {
		if _, err := netip.ParseAddr(host); err != nil {
			n.host = host
		}
	}
	return n
}

// lookUp looks up a name once. resolver may be nil.
func lookUp(ctx context.Context, resolver *net.Resolver, host string) ([]netip.Addr, error) {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, err := resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(found) == 0 {
		err = errors.New("lookup " + host + ": no addresses")
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found, err
}

// refresh starts a lookup in the background if one is due.
func (n *upstreamAddrs) refresh(p *Proxy, pool *pool) {
	now := p.sweeper.now.Load()
	if n.host == "" || n.every <= 0 || now < n.next || n.busy.Swap(true) {
		return
	}
	n.next = now + int64(n.every)
	p.background.Go(func() {
		defer n.busy.Store(false)
		found, err := lookUp(p.stopped, n.resolver, n.host)
		if err != nil {
			return // keep the known addresses
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

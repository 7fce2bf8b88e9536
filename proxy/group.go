package proxy

import (
	"net"
	"sync/atomic"
)

// group is a group of servers that serve the same requests. Each request goes to one of them.
type group struct {
	host    []byte                  // of requests that have no Host
	members atomic.Pointer[members] // replaced as a whole, so that choosing a server takes no lock
}

// members are the servers of a group.
type members struct{ servers []*server }

// server is one server of a group, and the connections to it.
type server struct {
	*serverState
	name []byte // as recorded in events
	pool *pool
}

// pick chooses the server of a request.
func (g *group) pick() *server { return g.members.Load().servers[0] }

// has reports whether a server belongs to the group now.
func (g *group) has(s *server) bool {
	for _, member := range g.members.Load().servers {
		if member == s {
			return true
		}
	}
	return false
}

// newGroup makes the group of Options.Upstream.
func newGroup(p *Proxy, o *Options) (*group, error) {
	network, address, host, err := parseUpstream(o.Upstream)
	if err != nil {
		return nil, err
	}
	g := &group{host: []byte(host)}
	g.members.Store(&members{servers: []*server{newServer(p, o, network, address)}})
	return g, nil
}

func newServer(p *Proxy, o *Options, network, address string) *server {
	s := &server{name: []byte(address)}
	if network == "unix" {
		s.name = []byte("unix:" + address)
	}
	s.serverState = p.stateOf(string(s.name))
	dialer := &net.Dialer{Timeout: max(o.ConnectTimeout, 0), Resolver: o.Resolver, Control: boundBuffers}
	s.pool = &pool{
		target:   newTarget(network, address, dialer),
		drivers:  p.drivers.all,
		idle:     make([][]*upstreamConn, len(p.drivers.all)),
		sweeper:  p.sweeper,
		addrs:    newUpstreamAddrs(network, address, o.ResolveInterval, o.Resolver),
		figures:  s.serverState,
		max:      o.MaxConnsPerUpstream,
		wait:     o.MaxConnWait,
		idleFor:  o.MaxIdleUpstream,
		readSize: upstreamReadBytes,
		giveWay:  func(of *account) { p.giveWay(of, true) },
	}
	return s
}

package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

// group is a group of servers that serve the same requests. Each request goes to one of them. Once created, the group of a given name
// exists as long as the proxy does. A reload replaces its servers. Unchanged servers remain, with their connections, counters and
// health.
//
// group.go determines which servers a group has, choose.go chooses one for a request, and watchgroup.go determines which of them can be
// used.
type group struct {
	root    *Proxy
	name    string
	members atomic.Pointer[members] // replaced as a whole, so that choosing a server takes no lock
	turn    counter                 // for round robin
	silent  atomic.Int64            // number of silent uploads
	budget  upstream.Budget         // for retries
	wake    chan struct{}           // makes watch check for due work

	mu          sync.Mutex // guards the fields below, the health of the servers, and changes of members
	plan        *groupPlan
	all         []member
	addresses   upstream.Addresses
	checks      map[*server]*serverCheck
	nextLookup  time.Time
	nextReading time.Time
	lookingUp   bool
	stop        context.CancelFunc // ends watch; nil while watch is not running

	nameTrouble, filesTrouble         string // why the last lookup, or the last reading of the files, failed; empty if it succeeded
	nameLog, filesLog, unavailableLog changeLog
}

// members is an immutable snapshot of a group's servers.
type members struct {
	o       *Group
	all     []member
	usable  []member           // the servers that take turns
	ejected []member           // tried if a request has failed at all usable servers
	order   []uint16           // the order of their turns: indices into usable
	byToken map[string]*server // servers by the value of the cookie; nil if there is no cookie
	several bool
}

// member is a server and its weight in the group.
type member struct {
	*server
	weight int
}

// server is one server in a group, together with the connections to it.
type server struct {
	*serverState
	key    serverKey
	name   []byte // as recorded in events
	pool   *pool
	token  string // the value of the sticky cookie
	cookie []byte // the field that sets the cookie; nil if there is none
}

// serverKey contains everything on which the connections to a server depend. The connections can be reused as long as the key remains
// the same.
type serverKey struct {
	endpoint
	connectTimeout, wait, idleFor, resolveEvery time.Duration
	resolver                                    *net.Resolver
	credentials                                 *upstream.Credentials
	cookie                                      string
	busy                                        error // the error if no connection becomes free
	shared                                      bool  // whether there are other servers
}

// groupPlan is a checked Group. Putting it into effect cannot fail.
type groupPlan struct {
	o           Group
	servers     []endpoint
	name        endpoint // the name in Group.DNS
	host        []byte
	credentials *upstream.Credentials // nil if no server uses TLS
	common      serverKey
	connsMax    int // maximum number of connections per server
}

// nameShare is the number of servers that a DNS name counts as when MaxConnsPerUpstream is divided among the servers.
const nameShare = 8

// planGroups checks the groups in a configuration and reads their files.
func (p *Proxy) planGroups(o *Options) ([]*groupPlan, error) {
	groups := o.Groups
	if len(groups) == 0 && (o.Upstream != "" || len(o.Routes) == 0) { // routes may work without any group
		groups = []Group{{Servers: []Server{{URL: o.Upstream}}}}
	}
	plans, total := make([]*groupPlan, 0, len(groups)), 0
	for _, g := range groups {
		if slices.ContainsFunc(plans, func(other *groupPlan) bool { return other.o.Name == g.Name }) {
			return nil, fmt.Errorf("proxy: two groups have the name %q", g.Name)
		}
		plan, err := p.planGroup(g, o)
		if err != nil {
			return nil, err
		}
		if total += len(plan.servers); plan.o.DNS != "" {
			total += nameShare
		}
		plans = append(plans, plan)
	}
	for _, plan := range plans {
		plan.common.shared = total > 1
		if plan.connsMax = plan.o.ConnsMax; plan.connsMax <= 0 {
			plan.connsMax = max(o.MaxConnsPerUpstream/total, 1)
		}
	}
	return plans, nil
}

func (p *Proxy) planGroup(g Group, o *Options) (*groupPlan, error) {
	plan := &groupPlan{o: g.withDefaults()}
	if err := plan.o.check(); err != nil {
		return nil, err
	}
	encrypted := false
	for _, s := range g.Servers {
		e, err := parseUpstream(s.URL)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(plan.servers, func(other endpoint) bool { return other.name() == e.name() }) {
			return nil, fmt.Errorf("proxy: group %q has the server %s twice", g.Name, e.name())
		}
		plan.servers = append(plan.servers, e)
		encrypted = encrypted || e.tls
	}
	var err error
	if g.DNS != "" {
		if plan.name, err = parseName(g.DNS); err != nil {
			return nil, err
		}
		plan.host, encrypted = []byte(plan.name.host), plan.name.tls
	} else {
		plan.host = []byte(plan.servers[0].host)
	}
	if encrypted {
		if plan.credentials, err = p.credentialsOf(&plan.o); err != nil {
			return nil, fmt.Errorf("proxy: group %q: TLS to its servers: %w", g.Name, err)
		}
	}
	plan.common = serverKey{
		connectTimeout: o.ConnectTimeout, wait: o.MaxConnWait, idleFor: o.MaxIdleUpstream, resolveEvery: o.ResolveInterval, resolver: o.Resolver,
		credentials: plan.credentials, cookie: g.StickyCookie, busy: errPoolExhausted,
	}
	if g.ConnsMax > 0 {
		plan.common.busy = errUpstreamBusy
	}
	return plan, nil
}

// credentialsOf returns the current credentials of a group if its TLS options have not changed; otherwise it reads the files.
func (p *Proxy) credentialsOf(o *Group) (*upstream.Credentials, error) {
	if g := p.groupsByName[o.Name]; g != nil {
		g.mu.Lock()
		old := g.plan
		g.mu.Unlock()
		if old != nil && old.credentials != nil && old.o.TLS == o.TLS {
			_, err := old.credentials.Refresh()
			return old.credentials, err
		}
	}
	return upstream.NewCredentials(o.TLS)
}

// useGroups puts plans into effect and returns their groups, in the same order. The caller must hold Proxy.reloading.
func (p *Proxy) useGroups(plans []*groupPlan) []*group {
	groups := make([]*group, 0, len(plans))
	for _, plan := range plans {
		g := p.groupsByName[plan.o.Name]
		if g == nil {
			g = &group{root: p, name: plan.o.Name, wake: make(chan struct{}, 1)}
			p.groupsByName[g.name] = g
		}
		g.use(plan)
		groups = append(groups, g)
	}
	return groups
}

// use puts a plan into effect. If plan is nil, the group no longer has any servers.
func (g *group) use(plan *groupPlan) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if plan == nil {
		g.plan = &groupPlan{}
		g.setServers(nil)
		g.stopWatch()
		return
	}
	sameName := g.plan != nil && g.plan.name == plan.name
	g.plan = plan
	if !sameName {
		g.addresses, g.nextLookup = upstream.Addresses{}, time.Time{}
	}
	switch {
	case plan.o.DNS == "":
		g.setServers(plan.servers)
	case sameName:
		g.setServers(g.endpointsOf())
	default:
		g.setServers(nil)
	}
	g.startWatch()
}

// endpointsOf returns the endpoints of the current servers. The caller must hold mu.
func (g *group) endpointsOf() []endpoint {
	list := make([]endpoint, 0, len(g.all))
	for _, s := range g.all {
		list = append(list, s.key.endpoint)
	}
	return list
}

// setAddresses replaces the group's servers with those at the given addresses, which belong to its DNS name. The caller must hold mu.
func (g *group) setAddresses(addrs []netip.Addr) {
	slices.SortFunc(addrs, netip.Addr.Compare)
	_, port, _ := net.SplitHostPort(g.plan.name.address) // cannot fail: parseName has checked the address
	list := make([]endpoint, 0, len(addrs))
	for _, addr := range addrs {
		e := g.plan.name
		e.address = net.JoinHostPort(addr.String(), port)
		list = append(list, e)
	}
	g.setServers(list)
}

// setServers replaces the servers. Servers that are in both the old and the new list remain unchanged. The caller must hold mu.
func (g *group) setServers(list []endpoint) {
	old := g.all
	g.all = make([]member, 0, len(list))
	for i, e := range list {
		key := g.plan.common
		key.endpoint = e
		at := slices.IndexFunc(old, func(s member) bool { return s.key == key })
		m := member{weight: 1}
		if at >= 0 {
			m.server = old[at].server
			m.pool.resize(g.plan.connsMax)
		} else {
			m.server = g.newServer(key)
		}
		if g.plan.o.DNS == "" {
			m.weight = cmp.Or(min(g.plan.o.Servers[i].Weight, WeightMax), 1)
		}
		g.all = append(g.all, m)
	}
	for _, s := range old {
		if !slices.ContainsFunc(g.all, func(m member) bool { return m.server == s.server }) {
			s.pool.close()
			g.root.retire(g.name, s.server, !slices.ContainsFunc(g.all, func(m member) bool { return m.serverState == s.serverState }))
		}
	}
	g.setChecks()
	g.rebuild()
}

func (g *group) newServer(key serverKey) *server {
	p := g.root
	s := &server{key: key, name: []byte(key.name())}
	s.serverState = p.stateOf(g.name, key.name())
	if key.cookie != "" {
		s.token = stickyToken(p.stickyKey, g.name, key.name())
		s.cookie = fmt.Appendf(nil, "Set-Cookie: %s=%s; Path=/; HttpOnly; SameSite=Lax", key.cookie, s.token)
	}
	dialer := &net.Dialer{Timeout: max(key.connectTimeout, 0), Resolver: key.resolver, Control: boundBuffers}
	s.pool = &pool{
		target:   newTarget(key.endpoint, dialer, key.credentials),
		drivers:  p.drivers.all,
		idle:     make([][]*upstreamConn, len(p.drivers.all)),
		sweeper:  p.sweeper,
		addrs:    newUpstreamAddrs(key.network, key.address, key.resolveEvery, key.resolver),
		figures:  s.serverState,
		conns:    g.plan.connsMax,
		perConn:  1,
		max:      g.plan.connsMax,
		wait:     key.wait,
		busy:     key.busy,
		idleFor:  key.idleFor,
		readSize: upstreamReadBytes,
		giveWay:  func(of *account) { p.admission.giveWay(of, true) },
	}
	if key.shared {
		s.pool.byAccount = make(map[*account]int64)
	}
	if key.tls || key.h2c {
		s.pool.h2 = newH2Links(s.pool, &key, p)
	}
	return s
}

// rebuild determines which servers can be used. The caller must hold mu.
func (g *group) rebuild() {
	m := &members{o: &g.plan.o, all: g.all, several: len(g.all) > 1}
	up := g.inState(upstream.Up)
	if len(up) == 0 { // an ejected server is better than none
		for _, s := range g.inState(upstream.Ejected) {
			s.availability.Expire(time.Now(), true)
		}
		up = g.inState(upstream.Up)
	}
	if m.o.StickyCookie != "" {
		m.byToken = make(map[string]*server, len(up))
	}
	var weights []int
	for _, s := range up {
		if m.byToken != nil {
			m.byToken[s.token] = s.server
		}
		if s.weight > 0 {
			m.usable = append(m.usable, s)
			weights = append(weights, s.weight)
		}
	}
	m.order, m.ejected = upstream.Sequence(weights), g.inState(upstream.Ejected)
	g.members.Store(m)
}

// inState returns the servers in a given state. The caller must hold mu.
func (g *group) inState(state upstream.State) (list []member) {
	for _, s := range g.all {
		if now, _, _ := s.availability.State(); now == state {
			list = append(list, s)
		}
	}
	return list
}

// has reports whether a server currently belongs to the group.
func (g *group) has(s *server) bool {
	return slices.ContainsFunc(g.members.Load().all, func(m member) bool { return m.server == s })
}

// close closes the idle connections. It is called when the proxy ends.
func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopWatch()
	for _, s := range g.all {
		s.pool.close()
	}
}

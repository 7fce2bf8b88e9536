package proxy

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// settings are derived from Options. They never change: a reload creates new ones.
type settings struct {
	o        Options
	groups   []*group       // in the order of the configuration
	group    *group         // the first group, which serves all requests if there are no routes; nil if there are no groups
	exclude  *exclusion     // nil if no response is excluded
	standard *routeSettings // settings for requests without a route
	routing  *routing       // nil if there are no routes
	hsts     []byte         // the line of Strict-Transport-Security; empty if it is not sent
}

// generation is the proxy together with one configuration. A request uses the generation that was current when the request began, until
// the response has been sent: no request sees two configurations.
type generation struct {
	*Proxy
	*settings
}

// newSettings checks options and, if they are valid, puts their groups into effect. The caller must hold Proxy.reloading, unless p is not
// in use yet.
func newSettings(p *Proxy, o Options) (*settings, error) {
	plans, err := p.planGroups(&o)
	if err != nil {
		return nil, err
	}
	hosts := make(map[string][]byte, len(plans))
	for _, plan := range plans {
		hosts[plan.o.Name] = plan.host
	}
	set := &settings{o: o, exclude: newExclusion(o.RecordExclude)}
	var host []byte // the host for requests that have none
	if len(plans) > 0 {
		host = plans[0].host
	}
	if set.standard, err = newStandard(&o, host); err != nil {
		return nil, err
	}
	if set.routing, err = newRouting(&o, set.standard, hosts); err != nil {
		return nil, err
	}
	if len(o.StickyKey) > 0 {
		p.stickyKey = o.StickyKey
	}
	set.groups = p.useGroups(plans)
	if len(set.groups) > 0 {
		set.group = set.groups[0]
	}
	set.routing.bind(set.groups)
	if o.TLS != nil && o.TLS.HSTS > 0 {
		set.hsts = fmt.Appendf(nil, "Strict-Transport-Security: max-age=%d\r\n", int64(o.TLS.HSTS/time.Second))
	}
	return set, nil
}

// timeouts returns the time limits that determine the length of the sweeper's tick.
func (o *Options) timeouts() []time.Duration {
	list := []time.Duration{
		o.HeaderTimeout, o.ReadTimeout, o.IdleTimeout, o.WriteTimeout, o.ResponseTimeout, o.BodyTimeout, o.MaxIdleUpstream, o.TunnelTimeout,
		o.TunnelHalfClosedTimeout, o.TotalTimeout,
	}
	for i := range o.Routes {
		list = append(list, o.Routes[i].ResponseTimeout)
	}
	return list
}

// Reload applies new options to all requests that begin afterwards. Requests in progress, and their upstream connections, keep the old
// ones. No connection is closed in a way that a client could notice. If Reload fails, the old options remain in effect.
func (p *Proxy) Reload(o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	p.reloading.Lock()
	defer p.reloading.Unlock()
	old := p.current.Load()
	if (old.o.TLS == nil) != (o.TLS == nil) {
		return errors.New("proxy: a reload cannot switch TLS on or off")
	}
	set, err := newSettings(p, o)
	if err != nil {
		return err
	}
	if p.begun.Load() {
		p.findServers(set.groups)
	}
	p.sweeper.chooseTick(o.timeouts()...)
	p.current.Store(&generation{p, set})
	for _, g := range p.groupsByName {
		if !slices.Contains(set.groups, g) {
			g.use(nil)
		}
	}
	return nil
}

// eachServer calls f for each server in each group.
func (l *generation) eachServer(f func(*group, *server)) {
	for _, g := range l.groups {
		for _, s := range g.members.Load().all {
			f(g, s.server)
		}
	}
}

// reportHealth logs which servers are failing or have recovered. It reports whether there may be something to log later.
func (p *Proxy) reportHealth() (more bool) {
	l := p.current.Load()
	l.eachServer(func(g *group, s *server) {
		s.health.report(l.o.Logger, g, string(s.name))
		more = more || s.health.failing.Load()
	})
	return more
}

// evict closes idle upstream connections that are too old, or whose address no longer belongs to the server's name.
func (p *Proxy) evict() {
	p.current.Load().eachServer(func(_ *group, s *server) {
		s.pool.evict()
		s.pool.addrs.refresh(p, s.pool)
	})
}

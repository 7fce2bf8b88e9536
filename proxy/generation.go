package proxy

import (
	"fmt"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// settings are derived from one set of Options. They never change: a reload creates new ones.
type settings struct {
	o             Options
	group         *group     // serves all requests
	exclude       *exclusion // nil: no response is excluded
	requests      http1.RequestOptions
	responseRules *http1.Rules // nil: none
}

// generation is the proxy under one configuration. Each request uses the generation that is current when it begins, until its
// response has been sent: no request sees two configurations.
type generation struct {
	*Proxy
	*settings
}

func newSettings(p *Proxy, o Options) (*settings, error) {
	g, err := newGroup(p, &o)
	if err != nil {
		return nil, err
	}
	set := &settings{
		o: o, group: g, exclude: newExclusion(o.RecordExclude),
		requests: http1.RequestOptions{UpstreamHost: g.host, PassFields: o.PassFields, NoVia: o.NoVia},
	}
	if set.requests.Rules, err = o.RequestFields.Compile(); err != nil {
		return nil, fmt.Errorf("proxy: request fields: %w", err)
	}
	if set.responseRules, err = o.ResponseFields.Compile(); err != nil {
		return nil, fmt.Errorf("proxy: response fields: %w", err)
	}
	return set, nil
}

// timeouts lists the durations that the sweeper's tick must be short enough for.
func (o *Options) timeouts() []time.Duration {
	return []time.Duration{
		o.HeaderTimeout, o.ReadTimeout, o.IdleTimeout, o.WriteTimeout, o.ResponseTimeout, o.BodyTimeout, o.MaxIdleUpstream, o.TunnelTimeout,
		o.TunnelHalfClosedTimeout, o.TotalTimeout,
	}
}

// Reload applies new options to every request that begins from now on. Requests in flight, and their upstream connections,
// keep the old ones. No connection is closed in a way that a client could notice. After an error the old options stay.
func (p *Proxy) Reload(o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	p.reloading.Lock()
	defer p.reloading.Unlock()
	old := p.current.Load()
	set, err := newSettings(p, o)
	if err != nil {
		return err
	}
	if samePool(old.o, o) {
		set.group = old.group // its idle connections can be used under the new options too
	}
	p.sweeper.chooseTick(o.timeouts()...)
	p.current.Store(&generation{p, set})
	if set.group != old.group {
		for _, s := range old.group.members.Load().servers {
			s.pool.close()
			p.retire(s.pool)
		}
	}
	return nil
}

// samePool reports whether two configurations can share a pool.
func samePool(a, b Options) bool {
	return a.Upstream == b.Upstream && a.ConnectTimeout == b.ConnectTimeout && a.MaxConnsPerUpstream == b.MaxConnsPerUpstream &&
		a.MaxConnWait == b.MaxConnWait && a.ResolveInterval == b.ResolveInterval && a.Resolver == b.Resolver && a.MaxIdleUpstream == b.MaxIdleUpstream
}

// retire keeps a replaced pool for the metrics until its last connection is closed.
func (p *Proxy) retire(old *pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = slices.DeleteFunc(append(p.retired, old), func(r *pool) bool {
		open, _ := r.counts()
		return open == 0
	})
}

// reportHealth logs which servers fail or have recovered. It reports whether there may be something to log later.
func (p *Proxy) reportHealth() (more bool) {
	l := p.current.Load()
	for _, s := range l.group.members.Load().servers {
		s.health.report(l.o.Logger, string(s.name))
		more = more || s.health.failing.Load()
	}
	return more
}

// evict closes idle upstream connections that are too old, or whose address no longer belongs to the server's name.
func (p *Proxy) evict() {
	for _, s := range p.current.Load().group.members.Load().servers {
		s.pool.evict()
		s.pool.addrs.refresh(p, s.pool)
	}
}

package proxy

import (
	"context"
	"net"
	"slices"
	"time"
)

// settings is what one configuration makes of the proxy. They do not change: a reload makes new ones.
type settings struct {
	o                           Options
	pool                        *pool
	exclude                     *exclusion  // nil: nothing is excluded
	upstreamName                []byte      // as recorded
	requestRules, responseRules *fieldRules // nil: none
	upstreamHost                []byte      // Host of requests that have none
}

// lane is the proxy under one configuration. A client connection drives in the lane that is current when a request begins,
// and stays in it until the response has been sent: no request sees two configurations.
type lane struct {
	*Proxy
	*settings
}

func newSettings(p *Proxy, o Options) (*settings, error) {
	network, address, host, err := parseUpstream(o.Upstream)
	if err != nil {
		return nil, err
	}
	set := &settings{
		o: o, exclude: newExclusion(o.RecordExclude), upstreamName: []byte(address), upstreamHost: []byte(host),
	}
	if network == "unix" {
		set.upstreamName = []byte("unix:" + address)
	}
	if set.requestRules, err = newFieldRules(o.RequestFields); err != nil {
		return nil, err
	}
	if set.responseRules, err = newFieldRules(o.ResponseFields); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: max(o.ConnectTimeout, 0), Resolver: o.Resolver, Control: boundBuffers}
	set.pool = &pool{
		dial:     func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, network, address) },
		sweeper:  p.sweeper,
		names:    newNames(network, address, o.ResolveInterval, o.Resolver),
		figures:  p.upstreamOf(string(set.upstreamName)),
		max:      o.MaxConnsPerUpstream,
		wait:     o.MaxConnWait,
		idleFor:  o.MaxIdleUpstream,
		readSize: responseHeaderBytesMax,
		giveWay:  func(of *account) { p.giveWay(of, true) },
	}
	return set, nil
}

// timeouts are those that the sweeper's tick has to suit.
func (o *Options) timeouts() []time.Duration {
	return []time.Duration{
		o.HeaderTimeout, o.ReadTimeout, o.IdleTimeout, o.WriteTimeout, o.ResponseTimeout, o.BodyTimeout, o.MaxIdleUpstream, o.TunnelTimeout, o.TotalTimeout,
	}
}

// Reload puts new options into effect for every request that begins from now on; requests in flight, and their upstream
// connections, end under the old ones. Nothing is closed that a client could notice. On an error nothing has changed.
func (p *Proxy) Reload(o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	p.reloading.Lock()
	defer p.reloading.Unlock()
	old := p.lane.Load()
	set, err := newSettings(p, o)
	if err != nil {
		return err
	}
	if parseSame(old.o, o) {
		set.pool = old.pool // the kept connections are as good as new ones
	}
	p.sweeper.suit(o.timeouts()...)
	p.lane.Store(&lane{p, set})
	if set.pool != old.pool {
		old.pool.close()
		p.retire(old.pool)
	}
	return nil
}

// parseSame reports whether two configurations speak to the upstream through the same pool.
func parseSame(a, b Options) bool {
	return a.Upstream == b.Upstream && a.ConnectTimeout == b.ConnectTimeout && a.MaxConnsPerUpstream == b.MaxConnsPerUpstream &&
		a.MaxConnWait == b.MaxConnWait && a.ResolveInterval == b.ResolveInterval && a.Resolver == b.Resolver && a.MaxIdleUpstream == b.MaxIdleUpstream
}

// retire keeps a pool that may still have connections in use where metrics look for it.
func (p *Proxy) retire(old *pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = slices.DeleteFunc(append(p.retired, old), func(r *pool) bool {
		open, _ := r.counts()
		return open == 0
	})
}

// reportTrouble logs how the upstream does.
func (p *Proxy) reportTrouble() {
	l := p.lane.Load()
	l.pool.figures.trouble.report(l.o.Logger, string(l.upstreamName))
}

// evict closes idle upstream connections that are too old, or whose address the upstream has left.
func (p *Proxy) evict() {
	pool := p.lane.Load().pool
	pool.evict()
	pool.names.refresh(p, pool)
}

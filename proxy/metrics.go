package proxy

import (
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// counter is an atomic counter on a cache line of its own.
type counter struct {
	atomic.Int64
	_ cpu.CacheLinePad
}

// counters is what the proxy counts as it goes.
type counters struct {
	_        cpu.CacheLinePad
	inFlight counter
	retries  counter
	classes  [6]counter // by status / 100; 0 is unused
	failed   [failures]counter
}

// Metrics is a snapshot of the proxy's counters. Counters are cumulative since New.
type Metrics struct {
	InFlight      int64            // requests being handled, streams included
	ClientConns   int64            // open client connections
	UpstreamConns int64            // open upstream connections
	UpstreamIdle  int64            // of these, idle
	Retries       int64            // requests sent a second time
	Responses     [6]int64         // recorded or excluded responses by status class; index 2 is 2xx; 499 counts as 4xx
	Failures      map[string]int64 // by error type; kinds that have not occurred are left out
}

// Metrics reads the counters. It takes two short locks and may be called at any time.
func (p *Proxy) Metrics() Metrics {
	m := Metrics{InFlight: p.metrics.inFlight.Load(), Retries: p.metrics.retries.Load(), Failures: make(map[string]int64)}
	for i := range m.Responses {
		m.Responses[i] = p.metrics.classes[i].Load()
	}
	for f := failNone + 1; f < failures; f++ {
		if n := p.metrics.failed[f].Load(); n > 0 {
			m.Failures[f.String()] = n
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m.ClientConns = int64(len(p.conns))
	for _, pool := range append(p.retired[:len(p.retired):len(p.retired)], p.lane.Load().pool) {
		open, idle := pool.counts()
		m.UpstreamConns += int64(open)
		m.UpstreamIdle += int64(idle)
	}
	return m
}

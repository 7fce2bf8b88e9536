package proxy

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// counter is an atomic counter on its own cache line, so that CPU cores do not slow each other down.
type counter struct {
	atomic.Int64
	_ cpu.CacheLinePad
}

// counters are the counters of the proxy itself. Those of servers are in serverState.
type counters struct {
	_        cpu.CacheLinePad
	inFlight counter
	retries  counter
	own      tally // responses without a request to an upstream

	undelivered counter // see reply.undelivered

	h2Conns    counter // connections that have spoken HTTP/2
	h2Resets   counter // streams that ended early, because the client reset them or violated the protocol
	h2Limits   [http2.LimitsKnown]counter
	badHeaders counter // see clientConn.headerFailed
}

// tally counts responses.
type tally struct {
	classes [6]counter // by status / 100; 0 is unused
	failed  [failures]counter
}

func (t *tally) count(status uint16, f failure) {
	if class := int(status / 100); class < len(t.classes) {
		t.classes[class].Add(1)
	}
	if f != failNone {
		t.failed[f].Add(1)
	}
}

// add adds the tally to sums. It includes kinds of failures that have not occurred, because Prometheus does not detect an increase in a
// counter that first appears with the value 1.
func (t *tally) add(responses *[6]int64, kinds map[string]int64) {
	for i := range responses {
		responses[i] += t.classes[i].Load()
	}
	for f := failNone + 1; f < failures; f++ {
		kinds[f.String()] += t.failed[f].Load()
	}
}

// Metrics is a snapshot of the proxy's counters. Counters are cumulative since New.
type Metrics struct {
	InFlight      int64            // requests in progress, including streams
	ClientConns   int64            // open client connections
	UpstreamConns int64            // open upstream connections
	UpstreamIdle  int64            // how many of these are idle
	Retries       int64            // requests that were sent again
	Undelivered   int64            // responses that the client did not receive completely, although they were recorded as sent
	HTTP2Conns    int64            // connections that have spoken HTTP/2
	HTTP2Streams  int64            // open streams
	HTTP2Resets   int64            // streams that ended early, because the client reset them or violated the protocol
	HTTP2Limits   map[string]int64 // refused streams and closed connections, by the limit that the client has exceeded; all limits
	Responses     [6]int64         // recorded or excluded responses by status class; index 2 is 2xx; 499 counts as 4xx
	Failures      map[string]int64 // failures by error type; all types are included
	Upstreams     []UpstreamMetrics
}

// UpstreamMetrics are the counters of one server, which is identified by its group and its name in events. A server that a reload has removed keeps
// its counters.
type UpstreamMetrics struct {
	Group, Name    string
	Conns, Idle    int64                   // open connections, and how many of these are idle
	Connects       int64                   // connections made
	ConnectErrors  int64                   // failed attempts to connect
	Retried        int64                   // requests that failed there and were sent to another server
	Ejections      int64                   // how many times failed requests have taken it out of use
	ChecksPassed   int64                   // active checks that passed
	ChecksFailed   int64                   // active checks that failed
	Responses      [6]int64                // responses by status class
	Failures       map[string]int64        // failures by error type; all types are included
	FirstByte      map[time.Duration]int64 // responses whose first byte arrived within a bound; cumulative
	FirstByteCount int64
	FirstByteSum   time.Duration
}

// Metrics reads the counters. It holds two locks for a short time and may be called at any time.
func (p *Proxy) Metrics() Metrics {
	m := Metrics{InFlight: p.metrics.inFlight.Load(), Retries: p.metrics.retries.Load(), Undelivered: p.metrics.undelivered.Load(), Failures: make(map[string]int64)}
	p.metrics.own.add(&m.Responses, m.Failures)
	m.HTTP2Conns, m.HTTP2Resets, m.HTTP2Limits = p.metrics.h2Conns.Load(), p.metrics.h2Resets.Load(), make(map[string]int64)
	for l := http2.LimitNone + 1; l < http2.LimitsKnown; l++ {
		m.HTTP2Limits[l.String()] = p.metrics.h2Limits[l].Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m.ClientConns, m.HTTP2Streams = int64(len(p.conns)-p.h2streams), int64(p.h2streams)
	byName := make(map[*serverState]*UpstreamMetrics, len(p.servers))
	for key, u := range p.servers {
		um := &UpstreamMetrics{
			Group: key.group, Name: key.server, Connects: u.connects.Load(), ConnectErrors: u.connectErrors.Load(), Retried: u.retried.Load(),
			Ejections: u.ejections.Load(), ChecksPassed: u.checksPassed.Load(), ChecksFailed: u.checksFailed.Load(), Failures: make(map[string]int64),
			FirstByteSum: time.Duration(u.firstByteSum.Load()) * time.Microsecond, FirstByte: make(map[time.Duration]int64),
		}
		u.add(&um.Responses, um.Failures)
		u.add(&m.Responses, m.Failures)
		for i, bound := range firstByteBounds {
			um.FirstByteCount += u.firstByte[i].Load()
			um.FirstByte[time.Duration(bound)*time.Microsecond] = um.FirstByteCount
		}
		um.FirstByteCount += u.firstByte[len(firstByteBounds)].Load()
		byName[u] = um
	}
	servers := slices.Clone(p.retired)
	p.current.Load().eachServer(func(_ *group, s *server) { servers = append(servers, s) })
	for _, s := range servers {
		open, idle := s.pool.counts()
		m.UpstreamConns += open
		m.UpstreamIdle += idle
		byName[s.serverState].Conns += open
		byName[s.serverState].Idle += idle
	}
	for _, um := range byName {
		m.Upstreams = append(m.Upstreams, *um)
	}
	slices.SortFunc(m.Upstreams, func(a, b UpstreamMetrics) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Name, b.Name))
	})
	return m
}

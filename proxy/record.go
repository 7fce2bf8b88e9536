package proxy

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/wayside-proxy/wayside/internal/event"
)

// record passes the present response to the Recorder, once; further calls do nothing. The caller has set the status and the body
// sizes.
func (x *exchange) record(f failure) {
	if x.recorded {
		return
	}
	x.recorded = true
	p, ev := x.c.gen, &x.ev
	if x.upload.ended != nil {
		ev.RequestBytes = x.upload.sent.Load()
	}
	figures := &p.metrics.own
	if s := x.server; s != nil {
		figures = &s.tally
		x.noteHealth(f)
		if !x.headAt.IsZero() {
			s.observe(micros(x.headAt.Sub(x.sentAt)))
		}
	}
	figures.count(ev.Status, f)
	ev.Attempts = x.attempts
	if f != failNone {
		ev.ErrorType = failureTable[f].name
	}
	if p.o.Recorder == nil {
		return
	}
	if p.exclude != nil && p.exclude.match(ev.Path, x.userAgent()) {
		p.safely(p.o.Recorder.Exclude)
		return
	}
	x.noteTimes()
	if p.o.RequestID {
		ev.RequestID = x.id()
	}
	if p.o.RecorderBlocks {
		x.c.driver.block(func() { p.recordSafely(ev) })
	} else {
		p.recordSafely(ev)
	}
}

// noteHealth updates the server's health after a response, or after a failure.
func (x *exchange) noteHealth(f failure) {
	s := x.server
	switch {
	case isUpstreamFailure(f):
		x.group.failed(s, s.health.failed(f, x.cause, x.id()))
	case f == failNone:
		if s.health.failing.Load() {
			s.health.succeeded()
		}
		if s.consecutive.Load() != 0 {
			s.consecutive.Store(0)
		}
	}
}

// recordSafely calls the Recorder. A panic in it does not affect the request.
func (p *generation) recordSafely(ev *event.Event) {
	defer p.recoverPanic("recorder")
	ev.TimeMicros = p.o.Now().UnixMicro()
	p.o.Recorder.Record(ev)
}

func (p *generation) safely(f func()) {
	defer p.recoverPanic("recorder")
	f()
}

func (p *generation) recoverPanic(where string) {
	if r := recover(); r != nil {
		p.o.Logger.Error("panic; continuing without the result", "where", where, "value", r)
	}
}

// describe fills in the event's fields that follow from the request. For a refused request these are the parts that were parsed.
func (x *exchange) describe() {
	ev := &x.ev
	ev.Kind = event.KindRequest
	ev.TLSVersion = x.c.tlsVersion
	ev.Method = x.head.Method
	ev.Path = x.head.Path
	switch {
	case len(x.head.Method) == 0: // the request line was not understood
	case x.head.HTTP2:
		ev.Protocol = protocol2
	case x.head.HTTP10:
		ev.Protocol = protocol10
	default:
		ev.Protocol = protocol11
	}
	if event.IsGRPCContent(x.head.ContentType) {
		ev.GRPCStatus = event.GRPCAbsent // until the response has one
	}
	ev.Client = x.client()
	ev.Host = x.lowerHost()
	ev.Route = x.route.name
	if x.c.gen.o.TraceID {
		ev.TraceID = traceID(x.head.Traceparent)
	}
}

// client returns the address of the client as it is recorded.
func (x *exchange) client() []byte {
	c := x.c
	addr := x.clientAddr()
	if addr == c.addr {
		return c.client
	}
	x.clientText = appendClient(x.clientText[:0], c.gen.o.ClientAddress, addr)
	return x.clientText
}

// clientAddr returns the address of the client: the peer's or, if the peer is trusted, the one for which it speaks. It is invalid if
// there is none.
func (x *exchange) clientAddr() netip.Addr {
	if !x.c.peer.Trusted {
		return x.c.addr
	}
	return x.head.Client(x.c.addr, x.c.gen.trusts)
}

var (
	protocol10 = []byte("1.0")
	protocol11 = []byte("1.1")
	protocol2  = []byte("2")
)

// lowerHost returns the request's host in lower case. It copies only if there is something to change.
func (x *exchange) lowerHost() []byte {
	host := x.head.Host
	for i, c := range host {
		if c >= 'A' && c <= 'Z' {
			x.host = append(x.host[:0], host...)
			for ; i < len(host); i++ {
				if c := host[i]; c >= 'A' && c <= 'Z' {
					x.host[i] = c + 32
				}
			}
			return x.host
		}
	}
	return host
}

// traceID returns the trace id of a traceparent of the form 00-<32 hex>-<16 hex>-<2 hex>, or nil.
func traceID(traceparent []byte) []byte {
	if len(traceparent) < 55 || traceparent[2] != '-' || traceparent[35] != '-' {
		return nil
	}
	id := traceparent[3:35]
	zero := true
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil
		}
		zero = zero && c == '0'
	}
	if zero {
		return nil
	}
	return id
}

func (x *exchange) userAgent() []byte { return x.head.Value("user-agent") }

// exclusion is a compiled Exclude.
type exclusion struct {
	paths    map[string][][]byte // prefixes of the User-Agent, one of which must match; an empty one matches all
	prefixes []excludedPrefix
	agents   [][]byte
}

// excludedPrefix is a prefix of the path, and one of the User-Agent that must match too; an empty one matches all.
type excludedPrefix struct{ path, agent []byte }

// newExclusion returns nil if nothing is excluded.
func newExclusion(e Exclude) *exclusion {
	if len(e.Paths) == 0 && len(e.UserAgents) == 0 {
		return nil
	}
	x := &exclusion{paths: make(map[string][][]byte)}
	for _, rule := range e.Paths {
		path, agent, _ := strings.Cut(rule, " ")
		if prefix, ok := strings.CutSuffix(path, "*"); ok {
			x.prefixes = append(x.prefixes, excludedPrefix{[]byte(prefix), []byte(agent)})
		} else {
			x.paths[path] = append(x.paths[path], []byte(agent))
		}
	}
	for _, agent := range e.UserAgents {
		if agent != "" {
			x.agents = append(x.agents, []byte(agent))
		}
	}
	return x
}

func (e *exclusion) match(path, agent []byte) bool {
	if hasAnyPrefix(agent, e.paths[string(path)]) || hasAnyPrefix(agent, e.agents) {
		return true
	}
	for _, prefix := range e.prefixes {
		if bytes.HasPrefix(path, prefix.path) && bytes.HasPrefix(agent, prefix.agent) {
			return true
		}
	}
	return false
}

func hasAnyPrefix(b []byte, prefixes [][]byte) bool {
	for _, prefix := range prefixes {
		if bytes.HasPrefix(b, prefix) {
			return true
		}
	}
	return false
}

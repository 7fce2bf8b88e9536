package proxy

import (
	"bytes"
	"strings"

	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// entry is the event of an exchange, with the values that are known so far. After it has been recorded, it no longer changes.
type entry struct {
	event.Event
	recorded bool
	unsent   uint64 // bytes of the response's body that have been counted but not written to the client
}

// record passes the current response to the Recorder. It does so only once; further calls do nothing. The caller must have set the status and the
// body sizes.
func (x *exchange) record(f failure) {
	ev := &x.ev
	if ev.recorded {
		return
	}
	ev.recorded = true
	p := x.c.gen
	x.upload.note()
	figures := &p.metrics.own
	if s := x.to.server; s != nil {
		ev.Upstream = s.name
		figures = &s.tally
		x.to.noteHealth(&x.req, f)
		if !x.at.head.IsZero() {
			s.observe(micros(x.at.head.Sub(x.at.sent)))
		}
	}
	figures.count(ev.Status, f)
	ev.Attempts = x.to.attempts
	if f != failNone {
		ev.ErrorType = failureTable[f].name
	}
	if p.o.Recorder == nil {
		return
	}
	if p.exclude != nil && p.exclude.match(ev.Path, x.req.userAgent()) {
		p.safely(p.o.Recorder.Exclude)
		return
	}
	ev.TimeMicros = clock.At(x.at.note(&ev.Event)).UnixMicro()
	if p.o.RequestID {
		ev.RequestID = x.req.id()
	}
	if p.o.RecorderBlocks {
		x.c.driver.block(func() { p.recordSafely(&ev.Event) })
	} else {
		p.recordSafely(&ev.Event)
	}
}

// recordSafely calls the Recorder. A panic in it does not affect the request.
func (p *generation) recordSafely(ev *event.Event) {
	defer p.recoverPanic("recorder")
	p.o.Recorder.Record(ev)
}

func (p *generation) safely(f func()) {
	defer p.recoverPanic("recorder")
	f()
}

func (p *generation) recoverPanic(where string) {
	if r := recover(); r != nil {
		p.o.Logger.Error("a function panicked; continuing without its result", "where", where, "value", r)
	}
}

// describe fills in the fields that are derived from the request. If the request was refused, these are the parts that have been parsed.
func (e *entry) describe(r *request) {
	e.Kind = event.KindRequest
	e.TLSVersion = r.c.tlsVersion
	e.Method = r.Method
	e.Path = r.Path
	switch {
	case len(r.Method) == 0: // the request line could not be parsed
	case r.HTTP2:
		e.Protocol = protocol2
	case r.HTTP10:
		e.Protocol = protocol10
	default:
		e.Protocol = protocol11
	}
	if event.IsGRPCContent(r.ContentType) {
		e.GRPCStatus = event.GRPCAbsent // unless the response has one
	}
	e.Client = r.client()
	e.Host = r.lowerHost()
	e.Route = r.route.name
	if r.c.gen.o.TraceID {
		e.TraceID = traceID(r.Traceparent)
	}
	if percent := r.c.gen.o.SpanPercent; percent > 0 && len(r.Traceparent) > 0 {
		if span, sampled, ok := event.ParseTraceparent(r.Traceparent); ok && sampled && span.Sampled(percent) {
			e.Span = span
		}
	}
}

// noteGRPC records the status of a gRPC call if it is in lines, which are those of the response's header or trailers.
func (e *entry) noteGRPC(lines []byte) {
	if e.GRPCStatus != event.GRPCAbsent {
		return
	}
	if value := http1.FieldValue(lines, "grpc-status"); len(value) > 0 {
		e.GRPCStatus = event.ParseGRPCStatus(value)
	}
}

var (
	protocol10 = []byte("1.0")
	protocol11 = []byte("1.1")
	protocol2  = []byte("2")
)

// traceID returns the trace ID in a traceparent of the form 00-<32 hex>-<16 hex>-<2 hex>, or nil if it has another form.
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

// exclusion is a compiled Exclude.
type exclusion struct {
	paths    map[string][][]byte // for each path, the prefixes of the User-Agent, one of which must match; an empty one matches all
	prefixes []excludedPrefix
	agents   [][]byte
}

// excludedPrefix is a prefix of the path together with a prefix of the User-Agent, both of which must match. An empty one matches everything.
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

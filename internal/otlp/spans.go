package otlp

import (
	"sync"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Fields of opentelemetry.proto.trace.v1.
const (
	spanTrace      = 1
	spanID         = 2
	spanParent     = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanStatus     = 15
	spanFlags      = 16
	statusCode     = 3

	kindServer  = 2
	statusError = 2
	// remoteParent are the flags of a sampled span whose parent is known to be in another process: the flags of W3C Trace Context, and bits 8
	// and 9.
	remoteParent = 0x301
)

// appendSpan appends the span of an event, as the field scopeItems. Its ID is the second half of the event's ID.
func appendSpan(b []byte, epoch uuid.UUID, seq uint64, row catalogue.RowName, e *event.Event) []byte {
	return appendMessage(b, scopeItems, func(b []byte) []byte {
		id := event.ID(e.TimeMicros, epoch, seq)
		b = appendBytes(b, spanTrace, e.Span.Trace())
		b = appendBytes(b, spanID, id[8:])
		b = appendBytes(b, spanParent, e.Span.Parent())
		b = protowire.AppendFixed32(protowire.AppendTag(b, spanFlags, protowire.Fixed32Type), remoteParent)
		b = appendText(b, spanName, nameOf(row))
		b = appendVarint(b, spanKind, kindServer)
		end := uint64(max(e.TimeMicros, 0))
		b = appendFixed64(b, spanStart, 1000*(end-min(end, e.RequestMicros+e.DurationMicros)))
		b = appendFixed64(b, spanEnd, 1000*end)
		b = appendAttributes(b, row, e)
		b = appendAttribute(b, spanAttributes, "wayside.event_id", id.String())
		if e.IsError() {
			b = appendMessage(b, spanStatus, func(b []byte) []byte { return appendVarint(b, statusCode, statusError) })
		}
		return b
	})
}

// otherName is the label of rows that have no name of their own.
const otherName = "(other)"

// nameOf returns the span's name in the form of the semantic conventions: method and template.
func nameOf(row catalogue.RowName) string {
	name := row.Method
	if name == otherName {
		name = "HTTP"
	}
	if row.Label == otherName {
		return name
	}
	return name + " " + row.Label
}

// appendAttributes appends the fields of the archive, under the names of the semantic conventions. Fields that the conventions do not
// define begin with wayside.
func appendAttributes(b []byte, row catalogue.RowName, e *event.Event) []byte {
	method := row.Method
	if method == otherName {
		method = "_OTHER"
	}
	b = appendAttribute(b, spanAttributes, "http.request.method", method)
	b = appendAttribute(b, spanAttributes, "url.template", row.Label)
	b = appendNumber(b, "http.response.status_code", uint64(e.Status))
	b = appendNumber(b, "http.request.body.size", e.RequestBytes)
	b = appendNumber(b, "http.response.body.size", e.ResponseBytes)
	for _, a := range []struct {
		key   string
		value []byte
	}{
		{"url.path", e.Path},
		{"server.address", e.Host},
		{"network.protocol.version", e.Protocol},
		{"client.address", e.Client},
		{"error.type", e.ErrorType},
		{"wayside.upstream_address", e.Upstream},
		{"wayside.route", e.Route},
	} {
		if len(a.value) > 0 {
			b = appendAttribute(b, spanAttributes, a.key, a.value)
		}
	}
	if version := e.TLSProtocol(); version != "" {
		b = appendAttribute(b, spanAttributes, "tls.protocol.version", version)
	}
	if code, ok := e.GRPCStatus.Code(); ok {
		b = appendNumber(b, "rpc.grpc.status_code", uint64(code))
	}
	if e.Kind == event.KindStream {
		b = appendAttribute(b, spanAttributes, "wayside.kind", e.Kind.String())
	}
	for _, a := range []struct {
		key   string
		value uint64
	}{
		{"wayside.duration_us", e.DurationMicros},
		{"wayside.ttfb_us", e.TTFBMicros},
		{"wayside.wait_us", e.WaitMicros},
		{"wayside.attempts", uint64(e.Attempts)},
	} {
		if a.value > 0 {
			b = appendNumber(b, a.key, a.value)
		}
	}
	return b
}

// Bounds of the spans that wait for the collector.
const (
	chunkBytes = 256 << 10 // size at which a request is full: about 500 spans
	chunksMax  = 16        // requests that may wait
)

// chunk is the spans of one request.
type chunk struct {
	items []byte
	spans int
}

// spanQueue holds spans until they are sent. It is safe for concurrent use.
type spanQueue struct {
	wake    chan struct{} // receives a value when spans were added
	dropped prometheus.Counter

	mu     sync.Mutex
	chunks []*chunk // guarded by mu
	lost   uint64   // spans dropped since the last call to takeLost; guarded by mu
}

func newSpanQueue(dropped prometheus.Counter) *spanQueue {
	return &spanQueue{wake: make(chan struct{}, 1), dropped: dropped}
}

func (q *spanQueue) add(epoch uuid.UUID, seq uint64, row catalogue.RowName, e *event.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.chunks); n == 0 || len(q.chunks[n-1].items) >= chunkBytes {
		if n >= chunksMax {
			q.lost++
			q.dropped.Inc()
			return
		}
		q.chunks = append(q.chunks, new(chunk))
	}
	last := q.chunks[len(q.chunks)-1]
	last.items = appendSpan(last.items, epoch, seq, row, e)
	last.spans++
	select {
	case q.wake <- struct{}{}:
	default: // it already has a value
	}
}

// take removes and returns the oldest chunk. It returns nil if there is none.
func (q *spanQueue) take() *chunk {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.chunks) == 0 {
		q.chunks = nil
		return nil
	}
	c := q.chunks[0]
	q.chunks[0] = nil
	q.chunks = q.chunks[1:]
	return c
}

// takeLost returns the number of spans that were dropped since its last call because there was no room.
func (q *spanQueue) takeLost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.lost
	q.lost = 0
	return n
}

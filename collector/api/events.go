package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// EventSource provides raw events. The store implements it.
type EventSource interface {
	ScanEvents(ctx context.Context, q store.EventScan, fn func(*store.StoredEvent) bool) (store.EventPosition, bool, error)
	FindEvent(ctx context.Context, id uuid.UUID) (*store.StoredEvent, error)
}

// Event is one raw event, with the same field names as in the archive. Fields without a value are omitted.
type Event struct {
	ID        uuid.UUID `json:"event_id"`
	Time      string    `json:"ts"` // RFC 3339, µs
	Method    string    `json:"http_request_method,omitempty"`
	Path      string    `json:"url_path,omitempty"`
	Template  string    `json:"url_template,omitempty"` // the template under which the event is currently shown
	Status    uint16    `json:"http_response_status_code"`
	Duration  uint64    `json:"duration_us"`
	TTFB      uint64    `json:"ttfb_us"`
	Request   uint64    `json:"request_us,omitempty"`
	Wait      uint64    `json:"wait_us,omitempty"`
	BytesIn   uint64    `json:"http_request_body_size"`
	BytesOut  uint64    `json:"http_response_body_size"`
	Host      string    `json:"server_address,omitempty"`
	Upstream  string    `json:"upstream_address,omitempty"`
	Protocol  string    `json:"network_protocol_version,omitempty"`
	Client    string    `json:"client_address,omitempty"`
	TraceID   string    `json:"trace_id,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	ErrorType string    `json:"error_type,omitempty"`
	Route     string    `json:"route,omitempty"`
	GRPC      *int      `json:"rpc_grpc_status_code,omitempty"` // 17 stands for any code that gRPC does not define
	TLS       string    `json:"tls_protocol_version,omitempty"`
	Attempts  uint8     `json:"attempts,omitempty"` // number of attempts, if more than one
	Kind      string    `json:"kind"`
	Service   string    `json:"service,omitempty"`
	Instance  string    `json:"instance,omitempty"`
	Epoch     uuid.UUID `json:"epoch"`
	Seq       uint64    `json:"seq"`
}

// eventsAnswer is the body of GET /api/v1/events. A page can have fewer events than the limit, or none, and still be followed by more
// pages: a search reads a bounded number of events at a time, and a response has a bounded size.
type eventsAnswer struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Events []Event   `json:"events"`
	// NextCursor continues after the last event that was read. With order=desc, it is absent on the last page. With order=asc, it is
	// always present: a later request with this cursor returns the events that have been applied in the meantime.
	NextCursor string `json:"next_cursor,omitempty"`
	Complete   bool   `json:"complete"` // whether the whole range was read
}

var eventsParams = []string{
	"from", "to", "path", "method", "host", "prefix", "route", "status", "grpc", "kind", "min_duration", "request_id", "limit", "order", "cursor",
}

// eventFilter selects events.
type eventFilter struct {
	filter
	kind event.Kind // 0: responses of any kind
	slow uint64     // minimum duration in µs
	id   string     // request id; empty: any
}

func (h *handler) events(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), eventsParams...)
	from, to := p.span("from", "to")
	limit, keep := p.limit(), p.eventFilter()
	q := store.EventScan{FromMicros: from.UnixMicro(), ToMicros: to.UnixMicro(), Descending: p.descending()}
	q.After = p.cursor(q.Descending)
	q.Keep = func(e *store.StoredEvent) bool { return h.keepsEvent(&keep, e) }
	if p.err != nil {
		return nil, p.err
	}
	if h.Events == nil {
		return nil, ErrUnavailable
	}
	answer := eventsAnswer{From: from, To: to, Events: []Event{}}
	bytes := 0
	last, complete, err := h.Events.ScanEvents(r.Context(), q, func(e *store.StoredEvent) bool {
		answer.Events = append(answer.Events, h.eventOf(e))
		bytes += answer.Events[len(answer.Events)-1].size()
		return len(answer.Events) < limit && bytes < pageBytesMax
	})
	if err != nil {
		return nil, err
	}
	answer.Complete = complete
	if last != (store.EventPosition{}) && (!complete || !q.Descending) {
		answer.NextCursor = encodeCursor(last, q.Descending)
	}
	return answer, nil
}

func (h *handler) event(r *http.Request) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return nil, badRequest{"the id must be a UUID, as event_id shows it"}
	}
	if h.Events == nil {
		return nil, ErrUnavailable
	}
	e, err := h.Events.FindEvent(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return h.eventOf(e), nil
}

func (h *handler) keepsEvent(f *eventFilter, e *store.StoredEvent) bool {
	switch {
	case f.kind != 0 && e.Event.Kind != f.kind, f.kind == 0 && !e.Event.IsResponse():
		return false
	case f.id != "" && string(e.Event.RequestID) != f.id:
		return false
	case e.Event.DurationMicros < f.slow:
		return false
	case !f.status.Has(int(e.Event.Status)), !f.grpc.Has(e.Event.GRPCStatus):
		return false
	}
	k := h.shownKey(stats.Key{Host: e.Host, Method: e.Method, Label: e.Label, Route: e.Route})
	if route := string(e.Event.Route); f.route != "" && f.route == route {
		k.Route = route // the filter names a route, while the route in the row's name may be "(other)"
	}
	if path := string(e.Event.Path); f.path != "" && f.isPath(path) {
		k.Label = path // the filter names the path itself rather than its template
	}
	return f.keeps(k)
}

func (h *handler) eventOf(e *store.StoredEvent) Event {
	v := &e.Event
	var grpc *int
	if code, ok := v.GRPCStatus.Code(); ok {
		grpc = &code
	}
	return Event{
		ID: event.ID(v.TimeMicros, e.Epoch, e.Seq), Time: time.UnixMicro(v.TimeMicros).UTC().Format("2006-01-02T15:04:05.000000Z"),
		Method: text(v.Method), Path: text(v.Path), Template: h.Rules().Label(e.Host, e.Label), Status: v.Status,
		Duration: v.DurationMicros, TTFB: v.TTFBMicros, Request: v.RequestMicros, Wait: v.WaitMicros, BytesIn: v.RequestBytes, BytesOut: v.ResponseBytes,
		Host: text(v.Host), Upstream: text(v.Upstream), Protocol: text(v.Protocol), Client: text(v.Client),
		TraceID: text(v.TraceID), RequestID: text(v.RequestID), ErrorType: text(v.ErrorType),
		Route: text(v.Route), GRPC: grpc, TLS: v.TLSProtocol(), Attempts: v.Edge().Attempts(), Kind: v.Kind.String(),
		Service: h.Service, Instance: h.Instance, Epoch: e.Epoch, Seq: e.Seq,
	}
}

// A page ends after the event that brings it to pageBytesMax. Ten thousand events in one response would cost the books process half a
// second of CPU time, most of it for garbage collection. A client that needs more events follows the cursor.
const (
	eventBytes   = 750 // size of an event including the names of its fields, but without fields that may be long
	pageBytesMax = 2 << 20
)

// size estimates the number of bytes that an event takes up in a response. The estimate tends to be too high.
func (e *Event) size() int {
	return eventBytes + jsonLen(e.Path) + jsonLen(e.Template) + jsonLen(e.Host) + jsonLen(e.Upstream) + jsonLen(e.Route)
}

// jsonLen is the length of a text in JSON.
func jsonLen(text string) int {
	n := len(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c == '<' || c == '>' || c == '&':
			n += len(`\u003c`) - 1
		case c == '"' || c == '\\':
			n++
		}
	}
	return n
}

// text returns a field as the archive writes it: bytes that are not valid UTF-8 are percent-encoded.
func text(b []byte) string {
	s := string(b)
	if strings.ToValidUTF8(s, "") == s {
		return s
	}
	var out strings.Builder
	for i, r := range s {
		if r == '\uFFFD' && s[i] >= 0x80 && !strings.HasPrefix(s[i:], "\uFFFD") {
			out.WriteString(url.PathEscape(s[i : i+1]))
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

func (p *params) eventFilter() eventFilter {
	f := eventFilter{filter: p.filter(), id: p.text("request_id")}
	switch kind := p.text("kind"); kind {
	case "":
	case "request":
		f.kind = event.KindRequest
	case "stream":
		f.kind = event.KindStream
	case "drop":
		f.kind = event.KindDrop
	default:
		p.fail("kind=%q is not one of request, stream, drop", kind)
	}
	if text := p.text("min_duration"); text != "" {
		d, err := timeparse.Duration(text)
		if micros, numeric := strconv.ParseUint(text, 10, 63); numeric == nil {
			d, err = time.Duration(min(micros, 1<<53))*time.Microsecond, nil
		}
		if err != nil || d < 0 {
			p.fail("min_duration=%q must be a duration (250ms) or a number of microseconds", text)
		}
		f.slow = uint64(max(d, 0).Microseconds())
	}
	return f
}

func (p *params) descending() bool {
	switch order := p.text("order"); order {
	case "", "desc":
		return true
	case "asc":
		return false
	default:
		p.fail("order=%q is neither asc nor desc", order)
		return true
	}
}

// A cursor consists of the position of an event and the direction of the search.
const (
	cursorDescending = 1
	cursorAscending  = 2
)

func encodeCursor(at store.EventPosition, descending bool) string {
	direction := byte(cursorAscending)
	if descending {
		direction = cursorDescending
	}
	return base64.RawURLEncoding.EncodeToString(append([]byte{direction}, at.Encode()...))
}

func (p *params) cursor(descending bool) *store.EventPosition {
	text := p.text("cursor")
	if text == "" {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != 1+store.EventPositionBytes || (raw[0] == cursorDescending) != descending {
		p.fail("cursor must be the next_cursor of a response with the same order")
		return nil
	}
	at, _ := store.DecodeEventPosition(raw[1:])
	return &at
}

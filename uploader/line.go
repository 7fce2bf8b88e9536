package uploader

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Limits for the values in a line. No event has larger values, and with larger values, a sum over an hour could overflow.
const (
	statusMax = 999
	// figureMax limits a duration in µs (35 years) and a size in bytes (a pebibyte).
	figureMax = 1 << 50
	// escapedMax is the maximum number of bytes in a line that represent one byte of an event: %XX.
	escapedMax = 3
	// rowTextMax limits a row's host, method, label or route. wayside truncates them to about 256 bytes.
	rowTextMax = 1024
)

// Line is one line of an event object, decoded. Missing fields are zero.
type Line struct {
	EventID   uuid.UUID `json:"event_id"`
	Time      time.Time `json:"ts"`
	Method    string    `json:"http_request_method"`
	Path      string    `json:"url_path"`
	Template  string    `json:"url_template"`
	Status    int       `json:"http_response_status_code"`
	Duration  uint64    `json:"duration_us"`
	TTFB      uint64    `json:"ttfb_us"`
	Request   uint64    `json:"request_us"`
	Wait      uint64    `json:"wait_us"`
	BytesIn   uint64    `json:"http_request_body_size"`
	BytesOut  uint64    `json:"http_response_body_size"`
	Host      string    `json:"server_address"`
	Upstream  string    `json:"upstream_address"`
	Protocol  string    `json:"network_protocol_version"`
	Client    string    `json:"client_address"`
	TraceID   string    `json:"trace_id"`
	RequestID string    `json:"request_id"`
	ErrorType string    `json:"error_type"`
	Route     string    `json:"route"`
	GRPC      *int      `json:"rpc_grpc_status_code"`
	TLS       string    `json:"tls_protocol_version"`
	Attempts  uint8     `json:"attempts"`
	// Host, method and route of the row in which the event is counted, if they differ from Host, Method and Route.
	RowHost   *string   `json:"row_host"`
	RowMethod *string   `json:"row_method"`
	RowRoute  *string   `json:"row_route"`
	Kind      string    `json:"kind"`
	Dropped   uint64    `json:"dropped"`
	Service   string    `json:"service"`
	Instance  string    `json:"instance"`
	Epoch     uuid.UUID `json:"epoch"`
	Seq       uint64    `json:"seq"`
	Schema    int       `json:"schema_version"`
}

// Row returns the name of the statistics row in which the event is counted.
func (l *Line) Row() catalogue.RowName {
	n := catalogue.RowName{Host: l.Host, Method: l.Method, Label: l.Template, Route: l.Route}
	if l.RowHost != nil {
		n.Host = *l.RowHost
	}
	if l.RowMethod != nil {
		n.Method = *l.RowMethod
	}
	if l.RowRoute != nil {
		n.Route = *l.RowRoute
	}
	return n
}

// IsDrop reports whether the line is a drop record.
func (l *Line) IsDrop() bool { return l.Kind == event.KindDrop.String() }

// Event returns the event from which the line was written, with the fields that are preserved in the archive. The event does not share
// its slices with the line.
func (l *Line) Event() event.Event {
	e := event.Event{
		TimeMicros: l.Time.UnixMicro(), Kind: event.KindRequest, Status: uint16(l.Status),
		DurationMicros: l.Duration, TTFBMicros: l.TTFB, RequestMicros: l.Request, WaitMicros: l.Wait,
		RequestBytes: l.BytesIn, ResponseBytes: l.BytesOut,
		Method: unescaped(l.Method, event.MethodBytesMax), Host: unescaped(l.Host, event.HostBytesMax), Path: unescaped(l.Path, event.PathBytesMax),
		Upstream: unescaped(l.Upstream, event.UpstreamBytesMax), Protocol: unescaped(l.Protocol, event.ProtocolBytesMax),
		Client: unescaped(l.Client, event.ClientBytesMax), TraceID: unescaped(l.TraceID, event.TraceIDBytesMax),
		RequestID: unescaped(l.RequestID, event.RequestIDBytesMax), ErrorType: unescaped(l.ErrorType, event.ErrorTypeBytesMax),
		Route: unescaped(l.Route, event.RouteBytesMax), Attempts: l.Attempts, GRPCStatus: l.GRPCStatus(),
	}
	e.TLSVersion, _ = event.ParseTLSProtocol(l.TLS) // parseLine has checked it
	switch l.Kind {
	case event.KindStream.String():
		e.Kind = event.KindStream
	case event.KindDrop.String():
		e.Kind, e.RequestBytes = event.KindDrop, l.Dropped
	}
	return e
}

// GRPCStatus returns the gRPC status of the event. It is [event.GRPCNone] if the line has no such status, for example because the call
// ended without one.
func (l *Line) GRPCStatus() event.GRPCStatus {
	if l.GRPC == nil {
		return event.GRPCNone
	}
	return event.GRPCOf(*l.GRPC)
}

// unescaped truncates a text to the limit of its field. In a line, a byte that JSON cannot represent takes three bytes.
func unescaped(text string, limit int) []byte { return []byte(text[:min(len(text), limit)]) }

// parseLine parses one line of an event object into l. hour (since 1970) and epoch are those of the object. The error wraps [ErrDamaged]
// if wayside would not write such a line, or [ErrNewerFormat] for a line in a newer format.
func parseLine(text []byte, l *Line, hour int64, epoch uuid.UUID) error {
	*l = Line{}
	if err := json.Unmarshal(text, l); err != nil {
		return Damagedf("%w", err)
	}
	if err := checkSchema("event line", l.Schema); err != nil {
		return err
	}
	return l.check(hour, epoch)
}

func (l *Line) check(hour int64, epoch uuid.UUID) error {
	switch {
	case l.Schema < 1:
		return Damagedf("schema_version is %d", l.Schema)
	case l.Epoch != epoch:
		return Damagedf("event of epoch %s", l.Epoch)
	case l.Seq == 0:
		return Damagedf("seq is 0")
	case stats.HourOf(l.Time) != hour:
		return Damagedf("event %d of %s is not of the object's hour", l.Seq, l.Time.UTC().Format("2006-01-02T15:04:05Z"))
	case l.Kind != event.KindRequest.String() && l.Kind != event.KindStream.String() && !l.IsDrop():
		return Damagedf("event %d: kind %.20q", l.Seq, l.Kind)
	case l.Status < 0 || l.Status > statusMax:
		return Damagedf("event %d: status %d", l.Seq, l.Status)
	case l.GRPC != nil && (*l.GRPC < 0 || *l.GRPC > event.GRPCCodeOther):
		return Damagedf("event %d: rpc_grpc_status_code %d", l.Seq, *l.GRPC)
	}
	if _, ok := event.ParseTLSProtocol(l.TLS); !ok {
		return Damagedf("event %d: tls_protocol_version %.20q", l.Seq, l.TLS)
	}
	for name, n := range map[string]uint64{
		"duration_us": l.Duration, "ttfb_us": l.TTFB, "request_us": l.Request, "wait_us": l.Wait,
		"http_request_body_size": l.BytesIn, "http_response_body_size": l.BytesOut, "dropped": l.Dropped,
	} {
		if n > figureMax {
			return Damagedf("event %d: %s is %d", l.Seq, name, n)
		}
	}
	row := l.Row()
	for _, text := range []struct {
		name, value string
		max         int
	}{
		{"http_request_method", l.Method, escapedMax * event.MethodBytesMax},
		{"server_address", l.Host, escapedMax * event.HostBytesMax},
		{"url_path", l.Path, escapedMax * event.PathBytesMax},
		{"upstream_address", l.Upstream, escapedMax * event.UpstreamBytesMax},
		{"network_protocol_version", l.Protocol, escapedMax * event.ProtocolBytesMax},
		{"client_address", l.Client, escapedMax * event.ClientBytesMax},
		{"trace_id", l.TraceID, escapedMax * event.TraceIDBytesMax},
		{"request_id", l.RequestID, escapedMax * event.RequestIDBytesMax},
		{"error_type", l.ErrorType, event.ErrorTypeBytesMax},
		{"route", l.Route, escapedMax * event.RouteBytesMax},
		{"row_route", row.Route, rowTextMax},
		{"row_host", row.Host, rowTextMax},
		{"row_method", row.Method, rowTextMax},
		{"url_template", row.Label, rowTextMax},
	} {
		if len(text.value) > text.max {
			return Damagedf("event %d: %s of %d bytes", l.Seq, text.name, len(text.value))
		}
	}
	return nil
}

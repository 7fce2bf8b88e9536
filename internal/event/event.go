// Package event defines the record of one response, and its binary form.
//
// The proxy creates an [Event] and encodes it once, into the journal. The same bytes reach the books process through the queue. The
// format is versioned, pinned by golden files in testdata, and described in docs/FORMATS.md. The identity of an event is (epoch, seq):
// the epoch identifies one run of a traffic process, and the journal assigns the sequence number. Neither is part of the record, but a
// [Batch] has both.
package event

// Kind is the kind of an event.
type Kind uint8

// The kinds of event.
const (
	// KindRequest is an ordinary response.
	KindRequest Kind = 1
	// KindStream is a long-lived response (SSE, an upgraded connection), recorded at its end.
	KindStream Kind = 2
	// KindDrop is a drop record, which reports that responses could not be recorded. ErrorType is the reason, and RequestBytes is the
	// number of responses that were dropped for this reason since the beginning of the epoch.
	KindDrop Kind = 3
)

// String returns the kind's name in the archive.
func (k Kind) String() string {
	switch k {
	case KindRequest:
		return "request"
	case KindStream:
		return "stream"
	case KindDrop:
		return "drop"
	}
	return "unknown"
}

// Limits of fields in bytes. Encode truncates longer values.
const (
	MethodBytesMax    = 32
	HostBytesMax      = 255
	PathBytesMax      = 2048
	UpstreamBytesMax  = 255
	ProtocolBytesMax  = 16
	ClientBytesMax    = 64
	TraceIDBytesMax   = 32
	ErrorTypeBytesMax = 64
	RequestIDBytesMax = 128
	RouteBytesMax     = 64
)

// Event is one recorded response.
//
// The event does not own its byte slices, which must not be modified. Encode reads them only during the call. After Decode, they point
// into the decoded buffer or to constants, and are valid as long as the buffer is.
type Event struct {
	TimeMicros int64 // when the response was complete, or the event recorded, in microseconds since 1970-01-01T00:00Z
	Kind       Kind
	Status     uint16 // as sent to the client; 499 if the client disconnected before the last byte

	// DurationMicros is the time from when the upstream had the whole request until the last byte of the response; TTFBMicros is the time
	// from the same moment until the first byte. Both are 0 if the request never reached an upstream. The duration of a stream is its
	// lifetime.
	DurationMicros uint64
	TTFBMicros     uint64

	// RequestMicros is the time from the request's first byte until the upstream had the whole request or, if that never happened, until
	// the response. It is 0 if the request arrived in one piece. WaitMicros is the time spent waiting for a connection to the upstream;
	// it is 0 if one was free.
	RequestMicros uint64
	WaitMicros    uint64

	RequestBytes  uint64 // body only
	ResponseBytes uint64 // body only

	Method    []byte
	Host      []byte
	Path      []byte // as received, without the query string
	Upstream  []byte // address dialed
	Protocol  []byte // protocol version of the client: "1.0", "1.1" or "2"
	Client    []byte // client address, already truncated according to record.client_address
	TraceID   []byte // empty unless it is recorded
	RequestID []byte // X-Request-ID; always set for responses that wayside generates, for others only with record.request_id
	// ErrorType is a short name for the kind of error, such as "connect_refused"; empty without an error. The names are in
	// proxy/failure.go or, for drop records, in spool/refusal.go.
	ErrorType []byte
	Route     []byte // name of the route that the request took; empty if routes have no names

	// Attempts is the number of times that the request was sent to an upstream, if more than once. Encode writes 1 as 0, because one
	// attempt is the usual case.
	Attempts uint8
	// TLSVersion is the TLS version of the client's connection, as numbered in crypto/tls; 0 for cleartext.
	TLSVersion uint16
	// GRPCStatus records whether the request was a gRPC call, and how the call ended.
	GRPCStatus GRPCStatus

	// Span is the request's place in a trace; the zero value if no span is to be exported. It stays in the spool: the store and the
	// archive do not contain it.
	Span Span
}

// LatencyMicros returns the latency for the statistics. This is the full duration, except for a stream: its latency is the time to the
// first byte, because the lifetime of a stream says nothing about speed.
func (e *Event) LatencyMicros() uint64 {
	if e.Kind == KindStream {
		return e.TTFBMicros
	}
	return e.DurationMicros
}

// IsError reports whether the response counts as an error in the statistics: it has a 5xx status, an error type, or a
// gRPC status that means a server error ([GRPCStatus.IsError]).
func (e *Event) IsError() bool {
	return e.Status >= 500 || len(e.ErrorType) > 0 || e.GRPCStatus.IsError()
}

// IsResponse reports whether the event is a response rather than a drop record.
func (e *Event) IsResponse() bool { return e.Kind != KindDrop }

// Package event defines what wayside records about one response, and its binary form.
//
// An [Event] is made by the proxy, encoded once into the journal, and carried unchanged through queue, store and archive
// plan; every later stage reads the same bytes. The format is versioned, pinned by golden files in testdata, and described
// in docs/FORMATS.md. Identity is (epoch, seq): the epoch names one life of a traffic process, the sequence number is
// assigned when the record is reserved in the journal. Neither is part of the record; [Batch] carries both.
package event

// Kind says what an event stands for.
type Kind uint8

// The kinds of event.
const (
	// KindRequest is an ordinary response.
	KindRequest Kind = 1
	// KindStream is a long-lived response (SSE, an upgraded connection), recorded at its end.
	KindStream Kind = 2
	// KindDrop says that responses could not be recorded: ErrorType is the reason and RequestBytes the number of
	// responses dropped for that reason since the epoch began.
	KindDrop Kind = 3
)

// String is the kind's name in the archive.
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

// Longest field values in bytes. A longer value is cut at the limit when it is encoded.
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
)

// Event is one recorded response.
//
// The byte slices are borrowed. On the way in they belong to the caller and are read only during Encode; on the way out
// they point into the decoded buffer (or into constants) and are valid as long as it is. Nobody may write to them.
type Event struct {
	TimeMicros int64 // recording moment, microseconds since 1970-01-01T00:00Z
	Kind       Kind
	Status     uint16 // as sent to the client; 499 when the client left before the last byte

	// Measured at the upstream, from the request's first byte out: to the last byte and to the first byte of the
	// response. For a stream the first is its lifetime.
	DurationMicros uint64
	TTFBMicros     uint64

	RequestBytes  uint64 // body only
	ResponseBytes uint64 // body only

	Method    []byte
	Host      []byte
	Path      []byte // as received, without the query
	Upstream  []byte // address dialled
	Protocol  []byte // "1.0", "1.1" or "2"
	Client    []byte // as it may be stored: already masked
	TraceID   []byte // empty unless recording it was asked for
	RequestID []byte // X-Request-ID; of answers that wayside made itself, of others only if recording it was asked for
	ErrorType []byte // empty where nothing went wrong; else a short kind such as "connect_refused"
}

// LatencyMicros is the figure that enters latency statistics: the time to the first byte for a stream, whose lifetime
// says nothing about speed, and the full duration otherwise.
func (e *Event) LatencyMicros() uint64 {
	if e.Kind == KindStream {
		return e.TTFBMicros
	}
	return e.DurationMicros
}

// IsError reports whether the response counts as an error in the statistics: a 5xx status, or an error type.
func (e *Event) IsError() bool { return e.Status >= 500 || len(e.ErrorType) > 0 }

// IsResponse reports whether the event stands for a response, which is all but drop records.
func (e *Event) IsResponse() bool { return e.Kind != KindDrop }

package http2

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	// EventNone: more bytes are needed for the next event. The caller must read them.
	EventNone EventKind = iota
	// EventRequest: the header of a request is complete. Stream is new and belongs to the caller until Release. If Stream.Err is set, the
	// request is malformed: the caller may respond to it, but no part of its body is reported.
	EventRequest
	// EventResponse: the header of a response is complete, in Stream.Head. Stream.Interim reports whether another one follows. With End,
	// the response is complete.
	EventResponse
	// EventData: a piece of the peer's body has arrived. Data points into the caller's buffer. If End is set, the piece is the last one and
	// may be empty.
	EventData
	// EventTrailers: the body has ended with trailers, which are in Stream.Trailers.
	EventTrailers
	// EventReset: the stream has ended early, because the peer reset it or violated the protocol; Code is the reason. Nothing more is
	// reported about the stream, and nothing more can be sent on it.
	EventReset
	// EventWindow: more data may be sent, on Stream or, if that is nil, on any stream.
	EventWindow
	// EventRefused: a stream was refused because of Limits.Streams.
	EventRefused
	// EventGoAway: the peer will open no further streams. A server has not processed the streams above Conn.PeerLast, and accepts no new
	// ones.
	EventGoAway
	// EventSettings: the server's SETTINGS have arrived.
	EventSettings
	// EventPong: the peer has acknowledged a PING that Conn.Ping sent.
	EventPong
)

// Event is reported by Conn.Next. It is valid until the next call.
type Event struct {
	Kind   EventKind
	Stream *Stream
	Data   []byte
	End    bool // the peer's message is complete
	Code   Code
}

package http2

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	// EventNone: more bytes are needed for the next event. The caller must read them.
	EventNone EventKind = iota
	// EventRequest: the header of a request is complete. Stream is new and belongs to the caller until Release. If Stream.Err is set, the
	// request is malformed: the caller may respond to it, but nothing of its body is reported.
	EventRequest
	// EventResponse: the header of a response is complete, in Stream.Head. Stream.Interim says whether another one follows. With End, the
	// response is complete.
	EventResponse
	// EventData: a piece of the peer's body has arrived. Data points into the caller's buffer. If End is set, the piece is the last one and may be empty.
	EventData
	// EventTrailers: the body has ended with trailers, which are in Stream.Trailers.
	EventTrailers
	// EventReset: the stream has ended early, because the peer reset it or violated the protocol; Code is the reason. Nothing more is reported
	// about the stream, and nothing more can be sent on it.
	EventReset
	// EventWindow: more may be sent, on Stream or, if that is nil, on any stream.
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

// Stream is a request and its response.
type Stream struct {
	ID uint32
	// Head is the peer's header as an HTTP/1.1 header block, from the first line to the empty line. If a request is malformed, Head ends where
	// the error is, or is empty. The caller may keep it and put another buffer in its place. The Head of a response is valid until the next one.
	Head []byte
	// Interim says that Head is an interim response.
	Interim bool
	// Err is the reason why the peer's message is malformed or refused; nil if it is neither. It wraps an error of package http1.
	Err error
	// Chunked means that the length of the body is not declared, so that Head contains Transfer-Encoding: chunked.
	Chunked bool
	// Trailers are the lines of the trailer section, each with CRLF.
	Trailers []byte
	// Value is for use by the caller.
	Value any

	length     int64 // declared length of the body; -1 if it is not declared
	received   int64 // bytes of data received so far
	remoteDone bool  // the peer has ended its direction
	localDone  bool  // this side has ended its direction
	reset      bool  // either side has reset the stream
	byPeer     bool  // the peer has reset the stream
	sendWindow int64 // bytes that this side may send
	recvWindow int64 // bytes that the peer may send
	noBody     bool  // client side only: the request is HEAD
	final      bool  // client side only: the final header has arrived
	interims   int   // client side only: number of interim responses
	held       int   // bytes that were reported but not yet consumed
	returned   int   // bytes that were consumed but not yet given back to the peer's window
}

// Reset reports whether either side has reset the stream.
func (s *Stream) Reset() bool { return s.reset }

// Complete reports whether all of the peer's message has arrived.
func (s *Stream) Complete() bool { return s.remoteDone }

// Ended reports whether all of this side's message has been written to the output.
func (s *Stream) Ended() bool { return s.localDone }

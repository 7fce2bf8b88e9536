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
	// EventData: a piece of the peer's body. Data points into the caller's buffer. With End, it is the last; it may then be empty.
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
	// EventGoAway: the peer will open no further streams. A server has not processed those above Conn.PeerLast, and does not take new ones.
	EventGoAway
	// EventSettings: the server's SETTINGS have arrived.
	EventSettings
	// EventPong: the peer has answered a PING of Conn.Ping.
	EventPong
)

// Event is reported by Conn.Next. It is valid until the next call.
type Event struct {
	Kind   EventKind
	Stream *Stream
	Data   []byte
	End    bool // of the peer's message
	Code   Code
}

// Stream is a request and its response.
type Stream struct {
	ID uint32
	// Head is the peer's header as a block of HTTP/1.1, from the first line to the empty line. If a request is malformed, it ends where the
	// error is, or is empty. The caller may keep it and leave another buffer. That of a response is valid until the next one.
	Head []byte
	// Interim says that Head is an interim response.
	Interim bool
	// Err says why the peer's message is malformed, or why it is refused; nil: it is not. It wraps an error of package http1.
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
	reset      bool  // by either side
	byPeer     bool  // by the peer
	sendWindow int64 // what may be sent
	recvWindow int64 // what the peer may send
	noBody     bool  // of a client: the request is HEAD
	final      bool  // of a client: the final header has arrived
	interims   int   // of a client
	held       int   // bytes that were reported and not consumed
	returned   int   // bytes that were consumed and not returned to the peer
}

// Reset reports whether either side has reset the stream.
func (s *Stream) Reset() bool { return s.reset }

// Complete reports whether all of the peer's message has arrived.
func (s *Stream) Complete() bool { return s.remoteDone }

// Ended reports whether all of this side's message has been put out.
func (s *Stream) Ended() bool { return s.localDone }

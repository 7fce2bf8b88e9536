package http2

// Stream is a request and its response.
type Stream struct {
	ID uint32
	// Head is the peer's header as an HTTP/1.1 header block, from the first line to the empty line. If a request is malformed, Head ends
	// where the error is, or is empty. The caller may keep it and put another buffer in its place. The Head of a response is valid until
	// the next one.
	Head []byte
	// Upgrade reports whether the request asks for a WebSocket with an extended CONNECT (RFC 8441). In Head, it is a GET with Upgrade,
	// without a Sec-WebSocket-Key. If the response has status 101, the stream becomes a tunnel: it carries data in both directions, and
	// each side half-closes it when it has sent everything.
	Upgrade bool
	// Interim reports whether Head is an interim response.
	Interim bool
	// Err is the reason why the peer's message is malformed or refused; nil if it is neither. It wraps an error of package http1.
	Err error
	// Chunked reports whether the length of the body is not declared. If so, Head contains Transfer-Encoding: chunked.
	Chunked bool
	// Trailers are the lines of the trailer section, each with CRLF.
	Trailers []byte
	// Value is for use by the caller.
	Value any

	length     int64 // declared length of the body; -1 if it is not declared
	received   int64 // bytes of data received so far
	remoteDone bool  // the peer has half-closed the stream: it sends nothing more
	localDone  bool  // this side has half-closed the stream
	reset      bool  // either side has reset the stream
	byPeer     bool  // the peer has reset the stream
	final      bool  // the peer's header has arrived, and is not that of an interim response
	noBody     bool  // client side only: the request is HEAD
	interims   int   // client side only: number of interim responses
	tunnel     bool  // Upgrade has succeeded
	send       sendWindow
	recv       recvWindow
	held       int // bytes that were reported but not yet consumed
}

// Reset reports whether either side has reset the stream.
func (s *Stream) Reset() bool { return s.reset }

// Complete reports whether all of the peer's message has arrived.
func (s *Stream) Complete() bool { return s.remoteDone }

// Tunnel reports whether the stream is a tunnel; see Upgrade.
func (s *Stream) Tunnel() bool { return s.tunnel }

// Ended reports whether all of this side's message has been written to the output.
func (s *Stream) Ended() bool { return s.localDone }

// ignored reports whether frames of the stream no longer have any effect: it was reset, or its request is malformed or refused.
func (s *Stream) ignored() bool { return s.reset || s.Err != nil }

// closedHere reports whether this side can send nothing more on the stream.
func (s *Stream) closedHere() bool { return s.reset || s.localDone }

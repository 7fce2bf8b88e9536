package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

var errTruncated = errors.New("upstream closed the connection within the body")

// bodyFraming says how the end of an upstream body is found.
type bodyFraming uint8

const (
	bodyFixed bodyFraming = iota
	bodyChunked
	bodyUntilClose
)

// trailerBytesMax bounds the trailer section of a chunked body. Trailers are read and dropped.
const trailerBytesMax = 8 << 10

// responseStream relays a response body from the upstream's read buffer, piece by piece as it comes. It records the
// response before it hands on what ends it. fasthttp closes it when the body has been written or could not be.
type responseStream struct {
	x       *exchange
	framing bodyFraming
	left    int64 // of the body (fixed) or of the chunk
	inChunk bool  // a chunk's data has been read, its CRLF has not
	handed  int   // bytes of the read buffer that the last piece occupies
	ended   bool  // nothing follows; recorded
	closed  bool
}

// next gives the next piece, at most max bytes, valid until the next call. io.EOF ends a complete body.
func (s *responseStream) next(max int) ([]byte, error) {
	u := s.x.up
	if s.handed > 0 {
		_, _ = u.br.Discard(s.handed) // always buffered
		s.handed = 0
	}
	if s.ended {
		return nil, io.EOF
	}
	if s.framing == bodyChunked && s.left == 0 {
		if err := s.nextChunk(); err != nil {
			return nil, err
		}
		if s.ended {
			return nil, io.EOF
		}
	}
	b, err := s.fill()
	if err != nil {
		if err == io.EOF && s.framing == bodyUntilClose {
			s.complete()
			return nil, io.EOF
		}
		return nil, s.broken(err)
	}
	b = b[:min(len(b), max)]
	if s.framing != bodyUntilClose {
		b = b[:min(int64(len(b)), s.left)]
		s.left -= int64(len(b))
	}
	s.handed = len(b)
	s.x.ev.ResponseBytes += uint64(len(b))
	s.inChunk = s.framing == bodyChunked
	if s.framing == bodyFixed && s.left == 0 {
		s.complete()
	}
	return b, nil
}

// fill gives what is buffered, and waits only when that is nothing.
func (s *responseStream) fill() ([]byte, error) {
	u, p := s.x.up, s.x.c.p
	if u.br.Buffered() == 0 {
		u.limits.armRead(p.sweeper.after(p.o.BodyTimeout))
		if _, err := u.br.Peek(1); err != nil {
			return nil, err
		}
	}
	return u.br.Peek(u.br.Buffered())
}

// nextChunk reads the CRLF that ends the last chunk, and the header of the next. The last one completes the body.
func (s *responseStream) nextChunk() error {
	if s.inChunk {
		if line, err := s.line(); err != nil {
			return err
		} else if len(line) != 0 {
			return s.broken(fmt.Errorf("%w: chunk does not end where it should", errProtocol))
		}
		s.inChunk = false
	}
	line, err := s.line()
	if err != nil {
		return err
	}
	size, err := parseChunkSize(line)
	if err != nil {
		return s.broken(err)
	}
	if size > 0 {
		s.left = size
		return nil
	}
	for total := 0; ; {
		if line, err = s.line(); err != nil {
			return err
		}
		if len(line) == 0 {
			s.complete()
			return nil
		}
		if total += len(line); total > trailerBytesMax || !validTrailer(line) {
			return s.broken(fmt.Errorf("%w: trailer", errProtocol))
		}
	}
}

// line reads one line that ends in CRLF, without it.
func (s *responseStream) line() ([]byte, error) {
	u, p := s.x.up, s.x.c.p
	u.limits.armRead(p.sweeper.after(p.o.BodyTimeout))
	b, err := u.br.ReadSlice('\n')
	if err != nil {
		return nil, s.broken(err)
	}
	if len(b) < 2 || b[len(b)-2] != '\r' {
		return nil, s.broken(fmt.Errorf("%w: line of a chunked body", errProtocol))
	}
	return b[:len(b)-2], nil
}

func validTrailer(line []byte) bool {
	i := 0
	for i < len(line) && isToken[line[i]] {
		i++
	}
	return i > 0 && i < len(line) && line[i] == ':' && bytes.IndexByte(line, '\r') < 0 && bytes.IndexByte(line, 0) < 0
}

// parseChunkSize parses a chunk header. Extensions are allowed and ignored; signs, prefixes and stray bytes are not.
func parseChunkSize(line []byte) (int64, error) {
	var n int64
	i := 0
	for ; i < len(line); i++ {
		var d byte
		switch c := line[i]; {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = c | 0x20 - 'a' + 10
		default:
			d = 0xff
		}
		if d == 0xff {
			break
		}
		if i == 15 {
			return 0, fmt.Errorf("%w: chunk size", errProtocol)
		}
		n = n<<4 | int64(d)
	}
	rest := line[i:]
	if i == 0 {
		return 0, fmt.Errorf("%w: chunk size", errProtocol)
	}
	if len(rest) == 0 {
		return n, nil
	}
	if rest = trimOWS(rest); len(rest) == 0 || rest[0] != ';' {
		return 0, fmt.Errorf("%w: chunk size", errProtocol)
	}
	for _, c := range rest {
		if c < ' ' && c != '\t' || c == 0x7f {
			return 0, fmt.Errorf("%w: chunk extension", errProtocol)
		}
	}
	return n, nil
}

// complete records a response that has been received in full.
func (s *responseStream) complete() {
	s.ended = true
	s.x.record(failNone)
}

// broken records a response that ends early, and gives the error that cuts the client off.
func (s *responseStream) broken(err error) error {
	s.ended = true
	kind := failTruncated
	switch {
	case isTimeout(err):
		kind = failTimeout
	case errors.Is(err, errProtocol):
		kind = failProtocol
	default:
		err = errTruncated
	}
	s.x.record(kind)
	s.x.dropUpstream()
	return err
}

// Read satisfies io.Reader.
func (s *responseStream) Read(p []byte) (int, error) {
	b, err := s.next(len(p))
	return copy(p, b), err
}

// SupportsBodyWriteTo tells fasthttp that WriteTo does what reading does.
func (s *responseStream) SupportsBodyWriteTo() bool { return true }

// WriteTo writes the body as it comes. With a known length fasthttp would collect it in its buffer; the header has been
// flushed by then, so the pieces go to the connection straight away. Chunks are framed and flushed one by one by w.
func (s *responseStream) WriteTo(w io.Writer) (int64, error) {
	if s.framing == bodyFixed {
		w = s.x.c
	}
	var total int64
	for {
		b, err := s.next(responseHeaderBytesMax)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(b)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// Close ends the stream. One that has not been recorded by now is one whose client left.
func (s *responseStream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	x := s.x
	if !s.ended {
		x.ev.Status = statusClientClosed
		x.record(failClientClosed)
		x.dropUpstream()
	}
	if s.handed > 0 && x.up != nil {
		_, _ = x.up.br.Discard(s.handed)
		s.handed = 0
	}
	x.releaseUpstream(s.framing == bodyUntilClose)
	x.c.p.metrics.inFlight.Add(-1)
	return nil
}

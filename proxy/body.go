package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// errBody means that a body is not framed as its message says (RFC 9112, section 7).
var errBody = errors.New("malformed message body")

// bodyFraming says how the end of a body is found.
type bodyFraming uint8

const (
	bodyFixed bodyFraming = iota
	bodyChunked
	bodyUntilClose // responses only
)

// Limits on the parts of a chunked body that are not data.
const (
	trailerBytesMax    = 8 << 10
	extensionsBytesMax = 8 << 10 // chunk extensions of one body, together
)

// bodyReader decodes the body of a message, in either direction. It returns slices of the reader's buffer and allocates nothing.
// It does not report the boundaries of chunks: a chunked body is passed on in different chunks.
type bodyReader struct {
	br       *bufio.Reader
	arm      func() error // called before each read that may wait; nil: the connection arms its own deadline
	framing  bodyFraming
	left     int64 // bytes left of the body (fixed) or of the chunk
	inChunk  bool  // the data of a chunk has been read, but not its CRLF
	handed   int   // length of the last piece, which is still in the buffer
	ended    bool
	overhead int    // bytes of chunk extensions so far
	trailers []byte // lines of the trailer fields to pass on; owned, reused
}

// reset begins a body. length is only used if the framing is bodyFixed.
func (r *bodyReader) reset(br *bufio.Reader, framing bodyFraming, length int64) {
	*r = bodyReader{br: br, arm: r.arm, framing: framing, trailers: r.trailers[:0]}
	if framing == bodyFixed {
		r.left, r.ended = length, length == 0
	}
}

// next returns the next piece, at most max bytes, valid until the next call. io.EOF marks the end of a complete body. With a fixed
// length, ended is already set when the last piece is returned.
func (r *bodyReader) next(max int) ([]byte, error) {
	if err := r.advance(); err != nil {
		return nil, err
	}
	if r.br.Buffered() == 0 {
		if err := r.wait(); err != nil {
			return nil, r.closed(err)
		}
		if _, err := r.br.Peek(1); err != nil {
			return nil, r.closed(err)
		}
	}
	b, err := r.br.Peek(min(r.br.Buffered(), max))
	if err != nil {
		return nil, err
	}
	if r.framing != bodyUntilClose {
		b = b[:min(int64(len(b)), r.left)]
	}
	r.handed = len(b)
	r.consumed(len(b))
	return b, nil
}

// Read copies. If nothing is buffered and p is large, it reads directly from the connection. It is for connections that arm their
// own deadlines.
func (r *bodyReader) Read(p []byte) (int, error) {
	if err := r.advance(); err != nil {
		return 0, err
	}
	if r.framing != bodyUntilClose {
		p = p[:min(int64(len(p)), r.left)]
	}
	n, err := r.br.Read(p)
	r.consumed(n)
	if n > 0 {
		return n, nil
	}
	return 0, r.closed(err)
}

// advance moves to the next data of the body.
func (r *bodyReader) advance() error {
	r.discardPiece()
	if !r.ended && r.framing == bodyChunked && r.left == 0 {
		if err := r.nextChunk(); err != nil {
			return err
		}
	}
	if r.ended {
		return io.EOF
	}
	return nil
}

// discardPiece removes the last piece from the buffer.
func (r *bodyReader) discardPiece() {
	if r.handed > 0 {
		_, _ = r.br.Discard(r.handed) // always buffered
		r.handed = 0
	}
}

func (r *bodyReader) consumed(n int) {
	switch r.framing {
	case bodyFixed:
		r.left -= int64(n)
		r.ended = r.left == 0
	case bodyChunked:
		r.left -= int64(n)
		r.inChunk = true
	}
}

// closed says what the end of the connection means for the body.
func (r *bodyReader) closed(err error) error {
	if err != io.EOF {
		return err
	}
	if r.framing == bodyUntilClose {
		r.ended = true
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

func (r *bodyReader) wait() error {
	if r.arm == nil {
		return nil
	}
	return r.arm()
}

// nextChunk reads the CRLF after the previous chunk, and the header of the next one. A chunk of size 0 ends the body.
func (r *bodyReader) nextChunk() error {
	if r.inChunk {
		if line, err := r.line(); err != nil {
			return err
		} else if len(line) != 0 {
			return fmt.Errorf("%w: chunk does not end where it should", errBody)
		}
		r.inChunk = false
	}
	line, err := r.line()
	if err != nil {
		return err
	}
	size, extensions, err := parseChunkHeader(line)
	if err != nil {
		return err
	}
	if r.overhead += extensions; r.overhead > extensionsBytesMax {
		return fmt.Errorf("%w: chunk extensions too long", errBody)
	}
	if r.left = size; size == 0 {
		return r.readTrailers()
	}
	return nil
}

// readTrailers reads the trailer section (RFC 9112, section 7.1.2) and keeps the fields that may be passed on.
func (r *bodyReader) readTrailers() error {
	for total := 0; ; {
		line, err := r.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			r.ended = true
			return nil
		}
		if total += len(line); total > trailerBytesMax {
			return fmt.Errorf("%w: trailers too long", errBody)
		}
		i := tokenLength(line)
		if i == 0 || i == len(line) || line[i] != ':' || !validValue(line[i+1:]) {
			return fmt.Errorf("%w: trailer", errBody)
		}
		switch trailerRule(line[:i]) {
		case trailerRefused:
			return fmt.Errorf("%w: framing in a trailer", errBody)
		case trailerPassed:
			r.trailers = append(append(r.trailers, line...), '\r', '\n')
		}
	}
}

// line reads one line and returns it without its CRLF. It can be as long as the reader's buffer.
func (r *bodyReader) line() ([]byte, error) {
	b, _ := r.br.Peek(r.br.Buffered())
	if bytes.IndexByte(b, '\n') < 0 {
		if err := r.wait(); err != nil {
			return nil, err
		}
	}
	b, err := r.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: line too long", errBody)
	}
	if err != nil {
		return nil, r.closed(err)
	}
	if len(b) < 2 || b[len(b)-2] != '\r' {
		return nil, fmt.Errorf("%w: line without CRLF", errBody)
	}
	return b[:len(b)-2], nil
}

// parseChunkHeader parses chunk-size [ chunk-ext ] strictly. Extensions (RFC 9112, section 7.1.1) must be well formed. They are
// not passed on, because they are for the next hop only.
func parseChunkHeader(line []byte) (size int64, extensions int, err error) {
	i := 0
	for ; i < len(line); i++ {
		d, ok := hexDigit(line[i])
		if !ok {
			break
		}
		if i == 15 {
			return 0, 0, fmt.Errorf("%w: chunk size", errBody)
		}
		size = size<<4 | int64(d)
	}
	if i == 0 {
		return 0, 0, fmt.Errorf("%w: chunk size", errBody)
	}
	if !validExtensions(line[i:]) {
		return 0, 0, fmt.Errorf("%w: chunk extension", errBody)
	}
	return size, len(line) - i, nil
}

func hexDigit(c byte) (d byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// validExtensions accepts *( ";" name [ "=" value ] ). A value is a token or a quoted string. Spaces and tabs may surround ";" and
// "=", but not follow the last extension.
func validExtensions(b []byte) bool {
	for len(b) > 0 {
		if b = skipOWS(b); len(b) == 0 || b[0] != ';' {
			return false
		}
		n := tokenLength(skipOWS(b[1:]))
		if n == 0 {
			return false
		}
		b = skipOWS(b[1:])[n:]
		rest := skipOWS(b)
		if len(rest) == 0 || rest[0] != '=' {
			continue
		}
		rest = skipOWS(rest[1:])
		if n = tokenLength(rest); n == 0 {
			n = quotedLength(rest)
		}
		if n == 0 {
			return false
		}
		b = rest[n:]
	}
	return true
}

func skipOWS(b []byte) []byte { return bytes.TrimLeft(b, " \t") }

func tokenLength(b []byte) int {
	n := 0
	for n < len(b) && isToken[b[n]] {
		n++
	}
	return n
}

// quotedLength returns the length of the quoted string (RFC 9110, section 5.6.4) at the beginning of b, or 0.
func quotedLength(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(b) || !validValue(b[i:i+1]) {
				return 0
			}
		case c < ' ' && c != '\t' || c == 0x7f:
			return 0
		}
	}
	return 0
}

// trailerAction says what happens to a trailer field.
type trailerAction uint8

const (
	trailerPassed trailerAction = iota
	trailerDropped
	trailerRefused
)

// trailerRule applies RFC 9110, section 6.5.1: fields that frame, route, authenticate or control a message must not be trailers,
// where they would escape all checks of the header.
func trailerRule(name []byte) trailerAction {
	switch id := classify(name); {
	case id == fieldContentLength, id == fieldTransferEncoding, id == fieldHost:
		return trailerRefused
	case id != fieldOther:
		return trailerDropped
	}
	for _, prefix := range trailerPrefixes {
		if hasPrefixFold(name, prefix) {
			return trailerDropped
		}
	}
	for _, other := range trailerNames {
		if foldEqual(name, other) {
			return trailerDropped
		}
	}
	return trailerPassed
}

var (
	trailerPrefixes = []string{"content-", "x-forwarded-", "proxy-", "if-", "accept-", "access-control-", "sec-", "http2-"}
	trailerNames    = []string{
		"accept", "age", "allow", "authorization", "cache-control", "cookie", "expires", "location", "origin",
		"pragma", "range", "retry-after", "set-cookie", "vary", "via", "warning", "www-authenticate",
	}
)

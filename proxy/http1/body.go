package http1

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// BodyFraming says how the end of a body is found.
type BodyFraming uint8

// The framings of a body.
const (
	Fixed      BodyFraming = iota // Content-Length
	Chunks                        // Transfer-Encoding: chunked
	UntilClose                    // the end of the connection; responses only
)

// Limits on the parts of a chunked body that are not data.
const (
	trailerBytesMax    = 8 << 10
	extensionsBytesMax = 8 << 10 // chunk extensions of one body, together
)

// Body tells the data of a message's body from its framing, in either direction, as the bytes arrive. It keeps none of them. It does
// not report the boundaries of chunks: a chunked body is passed on in different chunks.
//
// Left says how many bytes of data come next. If there are any, the caller takes what it has of them and calls Took; if there are
// none and the body has not ended, it hands what has arrived to Frame.
type Body struct {
	framing  BodyFraming
	part     bodyPart
	left     int64  // bytes left of the body (fixed) or of the chunk
	overhead int    // bytes of chunk extensions so far
	trailing int    // bytes of the trailer section so far
	trailers []byte // lines of the trailer fields to pass on; owned, reused
}

// bodyPart is the part of a body that comes next.
type bodyPart uint8

const (
	partData bodyPart = iota
	partChunkHeader
	partChunkEnd // the CRLF behind the data of a chunk
	partTrailers
	partNone // the body has ended
)

// Reset begins a body. length is only used if the framing is Fixed.
func (d *Body) Reset(framing BodyFraming, length int64) {
	*d = Body{framing: framing, trailers: d.trailers[:0]}
	switch framing {
	case Fixed:
		if d.left = length; length == 0 {
			d.part = partNone
		}
	case Chunks:
		d.part = partChunkHeader
	case UntilClose:
		d.left = math.MaxInt64
	}
}

// Ended reports whether the body is complete.
func (d *Body) Ended() bool { return d.part == partNone }

// Trailers returns the lines of the trailer fields that may be passed on, once the body has ended.
func (d *Body) Trailers() []byte { return d.trailers }

// Left returns how many bytes of data come next: of the chunk, or of the whole body if it has a length or lasts until the connection
// closes. 0: something else comes next, or nothing.
func (d *Body) Left() int64 {
	if d.part != partData {
		return 0
	}
	return d.left
}

// Took says that the caller has taken n bytes of data, at most Left.
func (d *Body) Took(n int) {
	if d.framing == UntilClose {
		return
	}
	if d.left -= int64(n); d.left > 0 {
		return
	}
	d.part = partChunkEnd
	if d.framing == Fixed {
		d.part = partNone
	}
}

// Frame takes lines of framing from the front of b, up to the next data or the end of the body, and returns how many bytes they have. 0
// means that b has no whole line. The error wraps ErrBody.
func (d *Body) Frame(b []byte) (n int, err error) {
	for d.part != partData && d.part != partNone {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return n, nil
		}
		if i == 0 || b[n+i-1] != '\r' {
			return n, fmt.Errorf("%w: line without CRLF", ErrBody)
		}
		line := b[n : n+i-1]
		n += i + 1
		if err := d.line(line); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (d *Body) line(line []byte) error {
	switch d.part {
	case partChunkEnd:
		if len(line) != 0 {
			return fmt.Errorf("%w: chunk does not end where it should", ErrBody)
		}
		d.part = partChunkHeader
	case partChunkHeader:
		size, extensions, err := parseChunkHeader(line)
		if err != nil {
			return err
		}
		if d.overhead += extensions; d.overhead > extensionsBytesMax {
			return fmt.Errorf("%w: chunk extensions too long", ErrBody)
		}
		if d.left, d.part = size, partData; size == 0 {
			d.part = partTrailers
		}
	case partTrailers:
		return d.trailer(line)
	}
	return nil
}

// trailer reads a line of the trailer section (RFC 9112, section 7.1.2) and keeps it if it may be passed on.
func (d *Body) trailer(line []byte) error {
	if len(line) == 0 {
		d.part = partNone
		return nil
	}
	if d.trailing += len(line); d.trailing > trailerBytesMax {
		return fmt.Errorf("%w: trailers too long", ErrBody)
	}
	i := tokenLength(line)
	if i == 0 || i == len(line) || line[i] != ':' || !validValue(line[i+1:]) {
		return fmt.Errorf("%w: trailer", ErrBody)
	}
	switch trailerRule(line[:i]) {
	case trailerRefused:
		return fmt.Errorf("%w: framing in a trailer", ErrBody)
	case trailerPassed:
		d.trailers = append(append(d.trailers, line...), '\r', '\n')
	}
	return nil
}

// Close says that the connection has ended. The error is io.ErrUnexpectedEOF if the body is incomplete.
func (d *Body) Close() error {
	if d.framing == UntilClose {
		d.part = partNone
	}
	if d.part != partNone {
		return io.ErrUnexpectedEOF
	}
	return nil
}

package http1

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// BodyFraming determines how the end of a body is found.
type BodyFraming uint8

// The framings of a body.
const (
	Fixed      BodyFraming = iota // Content-Length
	Chunks                        // Transfer-Encoding: chunked
	UntilClose                    // the body lasts until the connection closes; responses only
)

// Limits on the parts of a chunked body that are not data.
const (
	trailerBytesMax    = 8 << 10
	extensionsBytesMax = 8 << 10 // total size of the chunk extensions in one body
)

// Body separates a message body's data from its framing as the bytes arrive, for requests and responses. It keeps no data. It does not
// report the boundaries of chunks: a chunked body is passed on in different chunks.
//
// Left returns how many bytes of data come next. If there are any, the caller consumes those that have arrived and calls Took. If there
// are none and the body has not ended, the caller passes the bytes that have arrived to Frame.
type Body struct {
	framing  BodyFraming
	part     bodyPart
	left     int64  // remaining bytes of the body (fixed length) or of the current chunk
	overhead int    // bytes of chunk extensions so far
	trailing int    // bytes of the trailer section so far
	trailers []byte // lines of the trailer fields to pass on; owned, reused
}

// bodyPart is the kind of the part that comes next in a body.
type bodyPart uint8

const (
	partData bodyPart = iota
	partChunkHeader
	partChunkEnd // the CRLF after a chunk's data
	partTrailers
	partNone // the body has ended
)

// Reset prepares for a new body. length is used only if the framing is Fixed.
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

// Trailers returns the lines of the trailer fields that may be passed on. Call it after the body has ended.
func (d *Body) Trailers() []byte { return d.trailers }

// Left returns how many bytes of data come next: in the current chunk, or in the whole body if that has a length or lasts until the
// connection closes. It returns 0 if something else comes next, or if nothing follows.
func (d *Body) Left() int64 {
	if d.part != partData {
		return 0
	}
	return d.left
}

// Took records that the caller has consumed n bytes of data, at most Left.
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

// Frame parses lines of framing at the beginning of b, up to the next data or the end of the body, and returns the number of bytes parsed. 0
// means that b does not contain a complete line. The error wraps ErrBody.
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

// trailer parses a line of the trailer section (RFC 9112, section 7.1.2) and keeps it if it may be passed on.
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

// Close records that the connection has ended. It returns io.ErrUnexpectedEOF if the body is incomplete.
func (d *Body) Close() error {
	if d.framing == UntilClose {
		d.part = partNone
	}
	if d.part != partNone {
		return io.ErrUnexpectedEOF
	}
	return nil
}

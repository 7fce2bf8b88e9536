package http2

import (
	"errors"

	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// A field block is a HEADERS frame and the CONTINUATION frames after it (RFC 9113, section 4.3). It is decompressed only when it is
// complete: otherwise the decoder would keep, for the rest of the connection, a buffer as large as the largest part that it had to wait
// for. Even a block that is not needed is decompressed, because later ones depend on it.

// blockReader reads the peer's field blocks. Its decoder contains the dynamic table of the connection, so every block must pass through it,
// in order. Between begin and finish, the block is open, and the peer may send nothing but the rest of it.
type blockReader struct {
	client   bool // the blocks are those of responses
	limits   *Limits
	dec      *hpack.Decoder
	block    fieldBlock     // the last block
	request  requestFields  // of the last block, on the server side
	response responseFields // of the last block, on the client side
}

// fieldBlock is the block that is being received.
type fieldBlock struct {
	open     bool
	stream   uint32
	s        *Stream // nil if the block is discarded
	trailers bool    // the block is the trailers of s, not its header
	end      bool    // END_STREAM is set
	bytes    int     // size before decompression
	raw      []byte  // the bytes of a block that arrives in several pieces; owned, reused
	frames   int     // number of CONTINUATION frames

	size     int // size after decompression, counted as in RFC 9113, section 6.5.2
	tooLarge bool
	err      error // why the fields are malformed
}

// init creates the decoder. The blockReader must not be moved afterwards.
func (r *blockReader) init(client bool, limits *Limits) {
	r.client, r.limits = client, limits
	r.dec = hpack.NewDecoder(4096, r.emit)
	r.dec.SetMaxStringLength(r.bytesMax())
}

// hopeless is the factor by which the fields of a block may exceed their limit after decompression. Beyond that, the connection
// ends: all fields of such a block are discarded, and each further field would cost the peer only one byte, but this side the
// work to decompress it.
const hopeless = 4

// bytesMax returns how many bytes a block may have before decompression. If this limit were as small as the one after decompression,
// wayside would close some connections whose peers could have received 431 instead.
func (r *blockReader) bytesMax() int { return 2 * r.limits.HeaderBytes }

// begin begins a block for stream s, or one that is discarded if s is nil.
func (r *blockReader) begin(id uint32, s *Stream, end bool) {
	b := &r.block
	*b = fieldBlock{open: true, stream: id, s: s, end: end, raw: b.raw[:0]}
	if r.client {
		r.response = responseFields{}
	} else {
		r.request.reset()
	}
	if s != nil && s.final {
		b.trailers, s.Trailers = true, s.Trailers[:0]
	} else if s != nil {
		s.Head = s.Head[:0]
	}
}

// continuation handles the header of a CONTINUATION frame.
func (r *blockReader) continuation() *ConnError {
	b := &r.block
	if !b.open {
		return protocolError("CONTINUATION without HEADERS")
	}
	if b.frames++; b.frames > r.limits.Continuations {
		return &ConnError{CodeEnhanceYourCalm, "too many CONTINUATION frames", LimitContinuations}
	}
	return nil
}

// fragment adds a part of the block. last reports whether it is the last one. The block is then decompressed, before its padding
// arrives, no matter how it was split.
func (r *blockReader) fragment(p []byte, last bool) *ConnError {
	b := &r.block
	if b.bytes += len(p); b.bytes > r.bytesMax() {
		return &ConnError{CodeEnhanceYourCalm, "field block too large", LimitContinuations}
	}
	if !last || len(b.raw) > 0 {
		b.raw = append(b.raw, p...)
		p = b.raw
	}
	if !last {
		return nil
	}
	if _, err := r.dec.Write(p); err != nil {
		return compressionError(err)
	}
	if b.size > hopeless*r.limits.HeaderBytes {
		return &ConnError{CodeEnhanceYourCalm, "fields too large", LimitFields}
	}
	return nil
}

// held returns how many bytes of an unfinished block are buffered.
func (r *blockReader) held() int {
	if !r.block.open {
		return 0
	}
	return cap(r.block.raw)
}

// discard discards the rest of the block if it belongs to s.
func (r *blockReader) discard(s *Stream) {
	if r.block.s == s {
		r.block.s = nil
	}
}

func compressionError(err error) *ConnError {
	if errors.Is(err, hpack.ErrStringLength) {
		return &ConnError{CodeEnhanceYourCalm, "field too large", LimitFields}
	}
	return &ConnError{Code: CodeCompression, Reason: err.Error()}
}

// emit receives the fields of the block from the decoder. It counts all of them, but keeps none after the limit has been exceeded.
func (r *blockReader) emit(f hpack.HeaderField) {
	b := &r.block
	limit := r.limits.HeaderBytes
	if b.trailers {
		limit = r.limits.TrailerBytes
	}
	if b.size += int(f.Size()); b.size > hopeless*r.limits.HeaderBytes {
		r.dec.SetEmitEnabled(false)
	}
	switch {
	case b.size > limit:
		b.tooLarge = true
	case b.err != nil || b.s == nil:
	case b.trailers:
		b.s.Trailers, b.err = appendTrailer(b.s.Trailers, f)
	case r.client:
		b.err = r.response.add(b.s, f)
	default:
		b.err = r.request.add(b.s, f)
	}
}

// finish ends the block. It returns the stream to which the block belongs (nil if the block was discarded), and the kind of event to
// report. If violation is not CodeNone, the stream must be reset instead, with this code.
func (r *blockReader) finish() (s *Stream, kind EventKind, violation Code, err *ConnError) {
	b := &r.block
	b.open = false
	if b.raw = b.raw[:0]; cap(b.raw) > scratchBytes {
		b.raw = nil
	}
	if err := r.dec.Close(); err != nil {
		return nil, EventNone, CodeNone, compressionError(err)
	}
	s, b.s = b.s, nil
	switch {
	case s == nil || s.reset:
		return nil, EventNone, CodeNone, nil
	case b.trailers:
		return s, EventTrailers, b.trailersViolation(s), nil
	case r.client:
		if s.Err = r.finishResponse(s); s.Err != nil {
			violation = CodeProtocol
		}
		return s, EventResponse, violation, nil
	}
	r.finishRequest(s)
	return s, EventRequest, CodeNone, nil
}

// trailersViolation returns why the end of a body is malformed, or CodeNone if it is not.
func (b *fieldBlock) trailersViolation(s *Stream) Code {
	switch {
	case b.tooLarge:
		return CodeEnhanceYourCalm
	case b.err != nil, s.length >= 0 && s.received != s.length:
		return CodeProtocol
	}
	return CodeNone
}

// finishResponse completes the header of a response, or returns why it is malformed.
func (r *blockReader) finishResponse(s *Stream) error {
	err := r.block.err
	if r.block.tooLarge {
		err = http1.ErrHeaderSize
	}
	if err == nil {
		err = r.response.finish(s, r.block.end)
	}
	if s.interims > interimMax {
		err = errors.New("too many interim responses")
	}
	return err
}

// finishRequest completes the header of a request. A malformed request is also reported, because the caller responds to it.
func (r *blockReader) finishRequest(s *Stream) {
	s.final = true
	r.request.finish(s, r.block.end, r.block.tooLarge, r.block.err)
	if cap(r.request.cookies) > scratchBytes {
		r.request.cookies = nil
	}
}

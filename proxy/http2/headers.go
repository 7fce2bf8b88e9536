package http2

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

// A field block is a HEADERS frame and the CONTINUATION frames after it (RFC 9113, section 4.3). It is decompressed only when it is complete:
// otherwise the decoder would keep, for the rest of the connection, a buffer as large as the largest part that it had to wait for. Even a block
// that is not needed is decompressed, because later ones depend on it.

// fieldBlock is the block that is being received.
type fieldBlock struct {
	open   bool
	stream uint32
	kind   blockKind
	s      *Stream // nil if the block is discarded
	end    bool    // END_STREAM is set
	bytes  int     // size before decompression
	raw    []byte  // the bytes of a block that arrives in several pieces; owned, reused
	frames int     // number of CONTINUATION frames

	size     int // size after decompression, counted as in RFC 9113, section 6.5.2
	tooLarge bool
	request  requestFields
	response responseFields
	err      error // why the fields are malformed
}

type blockKind uint8

const (
	blockDiscarded blockKind = iota
	blockRequest
	blockResponse
	blockTrailers
)

// blockBytesMax returns how many bytes a block may have before decompression. If this limit were as small as the one after decompression,
// wayside would close some connections whose peers could have received 431 instead.
func (c *Conn) blockBytesMax() int { return 2 * c.limits.HeaderBytes }

func (c *Conn) beginHeaders() *ConnError {
	f := &c.frame
	n := 0
	if f.has(flagPadded) {
		n++
	}
	if f.has(flagPriority) {
		n += 5
	}
	if n == 0 {
		return c.headersBegun(0)
	}
	return c.expect(n, f.length >= n)
}

// headersBegun is called when the length of the padding is known. It decides to which stream the block belongs.
func (c *Conn) headersBegun(pad int) *ConnError {
	if pad > c.left {
		return protocolError("padding longer than its frame")
	}
	c.pad, c.left = pad, c.left-pad
	id := c.frame.stream
	request := c.block.request // keep its buffers
	request.reset()
	c.block = fieldBlock{open: true, stream: id, end: c.frame.has(flagEndStream), request: request, raw: c.block.raw[:0]}
	find := c.requestBlock
	if c.client {
		find = c.responseBlock
	}
	kind, s, err := find(id)
	c.block.kind, c.block.s = kind, s
	c.dec.SetEmitEnabled(s != nil)
	return err
}

// requestBlock finds or creates the stream of a field block from a client.
func (c *Conn) requestBlock(id uint32) (blockKind, *Stream, *ConnError) {
	s := c.streams[id]
	switch {
	case s != nil && s.byPeer:
		return blockDiscarded, nil, &ConnError{Code: CodeStreamClosed, Reason: "HEADERS on a stream that the peer has reset"}
	case s != nil && s.ignored():
		return blockDiscarded, nil, nil
	case s != nil && s.remoteDone:
		return blockDiscarded, nil, c.streamError(s, CodeStreamClosed)
	case s != nil && !c.block.end: // RFC 9113, section 8.1
		return blockDiscarded, nil, c.streamError(s, CodeProtocol)
	case s != nil:
		s.Trailers = s.Trailers[:0]
		return blockTrailers, s, nil
	case id%2 == 0:
		return blockDiscarded, nil, protocolError("a client's stream has an even number")
	case id <= c.lastID && (c.wasResetByUs(id) || c.final && id > c.lastSeen):
		return blockDiscarded, nil, nil
	case id <= c.lastID && c.isRecent(id):
		return blockDiscarded, nil, &ConnError{Code: CodeStreamClosed, Reason: "HEADERS on a closed stream"}
	case id <= c.lastID:
		return blockDiscarded, nil, protocolError("a stream's number is not higher than the previous one")
	}
	c.lastID = id
	if c.final {
		return blockDiscarded, nil, nil
	}
	if len(c.streams) >= c.limits.Streams {
		c.recent[c.recents%recentMax] = id | byUs
		c.recents++
		c.queue(appendUint32Frame(c.out, frameReset, id, uint32(CodeRefusedStream)))
		c.ev = Event{Kind: EventRefused, Code: CodeRefusedStream}
		return blockDiscarded, nil, c.spend()
	}
	return blockRequest, c.newStream(id), nil
}

func (c *Conn) newStream(id uint32) *Stream {
	var s *Stream
	if n := len(c.free); n > 0 {
		s, c.free = c.free[n-1], c.free[:n-1]
	} else {
		s = &Stream{}
	}
	s.ID, s.length, s.sendWindow, s.recvWindow = id, -1, c.peerWindow, int64(c.limits.StreamWindow)
	c.streams[id] = s
	return s
}

func (c *Conn) beginContinuation() *ConnError {
	if !c.block.open {
		return protocolError("CONTINUATION without HEADERS")
	}
	if c.block.frames++; c.block.frames > c.limits.Continuations {
		return &ConnError{CodeEnhanceYourCalm, "too many CONTINUATION frames", LimitContinuations}
	}
	return nil
}

// fragment adds a part of the block.
func (c *Conn) fragment(b []byte) *ConnError {
	if c.block.bytes += len(b); c.block.bytes > c.blockBytesMax() {
		return &ConnError{CodeEnhanceYourCalm, "field block too large", LimitContinuations}
	}
	whole := b
	if c.left > 0 || !c.frame.has(flagEndHeaders) || len(c.block.raw) > 0 {
		c.block.raw = append(c.block.raw, b...)
		whole = c.block.raw
	}
	if c.left > 0 || !c.frame.has(flagEndHeaders) {
		return nil
	}
	// The block is decompressed before its padding arrives, however it was split.
	return c.decompress(whole)
}

func (c *Conn) decompress(b []byte) *ConnError {
	if _, err := c.dec.Write(b); err != nil {
		return compressionError(err)
	}
	return nil
}

// Held returns how many bytes of an unfinished field block are buffered.
func (c *Conn) Held() int {
	if !c.block.open {
		return 0
	}
	return cap(c.block.raw)
}

func compressionError(err error) *ConnError {
	if errors.Is(err, hpack.ErrStringLength) {
		return &ConnError{CodeEnhanceYourCalm, "field too large", LimitFields}
	}
	return &ConnError{Code: CodeCompression, Reason: err.Error()}
}

// emit receives the fields of the block from the decoder. After the limit has been exceeded, it receives no more fields, and the decoder
// only updates its table.
func (c *Conn) emit(f hpack.HeaderField) {
	b := &c.block
	limit := c.limits.HeaderBytes
	if b.kind == blockTrailers {
		limit = c.limits.TrailerBytes
	}
	if b.size += int(f.Size()); b.size > limit {
		b.tooLarge = true
		c.dec.SetEmitEnabled(false)
		return
	}
	if b.err != nil || b.s == nil {
		return
	}
	switch b.kind {
	case blockTrailers:
		b.s.Trailers, b.err = appendTrailer(b.s.Trailers, f)
	case blockResponse:
		b.err = b.response.add(b.s, f)
	default:
		b.err = b.request.add(b.s, f)
	}
}

// endBlock is called when the block is complete.
func (c *Conn) endBlock() *ConnError {
	b := &c.block
	b.open = false
	if b.raw = b.raw[:0]; cap(b.raw) > scratchBytes {
		b.raw = nil
	}
	if err := c.dec.Close(); err != nil {
		return compressionError(err)
	}
	s := b.s
	b.s = nil
	switch {
	case b.kind == blockRequest:
		c.endRequest(s)
	case b.kind == blockResponse && !s.reset:
		return c.endResponse(s)
	case b.kind == blockTrailers && !s.reset:
		return c.endTrailers(s)
	}
	return nil
}

// endRequest reports a request.
func (c *Conn) endRequest(s *Stream) {
	b := &c.block
	b.request.finish(s, b.end, b.tooLarge, b.err)
	if cap(b.request.cookies) > scratchBytes {
		b.request.cookies = nil
	}
	s.remoteDone = b.end
	c.control.add(8, c.limits.Control)
	c.ev = Event{Kind: EventRequest, Stream: s, End: b.end}
}

// endTrailers reports the end of a body.
func (c *Conn) endTrailers(s *Stream) *ConnError {
	b := &c.block
	switch {
	case b.tooLarge:
		return c.streamError(s, CodeEnhanceYourCalm)
	case b.err != nil, s.length >= 0 && s.received != s.length:
		return c.streamError(s, CodeProtocol)
	}
	s.remoteDone = true
	c.ev = Event{Kind: EventTrailers, Stream: s, End: true}
	return nil
}

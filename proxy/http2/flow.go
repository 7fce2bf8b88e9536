package http2

import "encoding/binary"

// This file handles DATA frames and flow control, in both directions (RFC 9113, sections 5.2, 6.1 and 6.9).

// beginData checks a DATA frame. Its whole payload, including padding, counts against the windows, even if the data is discarded.
func (c *Conn) beginData() *ConnError {
	f := &c.frame
	if f.length == 0 && !f.has(flagEndStream) {
		if err := c.spend(); err != nil {
			return err
		}
	}
	if c.recvWindow -= int64(f.length); c.recvWindow < 0 {
		return &ConnError{Code: CodeFlowControl, Reason: "more DATA than the connection's window allows"}
	}
	if f.has(flagPadded) {
		return c.expect(1, f.length > 0)
	}
	return c.dataBegun(0)
}

// dataBegun is called when the length of the padding is known.
func (c *Conn) dataBegun(pad int) *ConnError {
	f := &c.frame
	if pad > c.left {
		return protocolError("padding longer than its frame")
	}
	c.pad, c.left = pad, c.left-pad
	s, err := c.dataStream()
	if err != nil || s == nil {
		c.giveBack(nil, f.length)
		return err
	}
	total := s.received + int64(c.left)
	if s.recvWindow -= int64(f.length); s.recvWindow < 0 {
		c.giveBack(nil, f.length)
		return c.streamError(s, CodeFlowControl)
	}
	if s.length >= 0 && (total > s.length || f.has(flagEndStream) && total < s.length) {
		c.giveBack(nil, f.length)
		return c.streamError(s, CodeProtocol) // RFC 9113, section 8.1.1
	}
	c.into, s.received = s, total
	s.held += c.left
	c.giveBack(s, f.length-c.left)
	if c.left == 0 && f.length > 0 && !f.has(flagEndStream) {
		return c.spend() // the frame contains only padding
	}
	return nil
}

// ignored reports whether frames of the stream have no effect any more: it was reset, or its request is malformed or refused.
func (s *Stream) ignored() bool { return s.reset || s.Err != nil }

// dataStream returns the stream to which the data of the current frame goes, or nil if the data is discarded.
func (c *Conn) dataStream() (*Stream, *ConnError) {
	id := c.frame.stream
	s := c.streams[id]
	switch {
	case s != nil && s.byPeer: // the stream is closed
	case s != nil && s.ignored():
		return nil, nil
	case s != nil && s.remoteDone:
		return nil, c.streamError(s, CodeStreamClosed)
	case s != nil && c.client && !s.final:
		return nil, c.streamError(s, CodeProtocol)
	case s != nil:
		return s, nil
	case id%2 == 0 || id > c.lastID:
		return nil, protocolError("DATA on an idle stream")
	case c.wasResetByUs(id), c.final && id > c.lastSeen:
		return nil, nil
	}
	c.queue(appendUint32Frame(c.out, frameReset, id, uint32(CodeStreamClosed)))
	return nil, c.countReset()
}

// data reports a piece of data.
func (c *Conn) data(b []byte) {
	s, end := c.into, c.left == 0 && c.frame.has(flagEndStream)
	if s == nil {
		return
	}
	if s.reset { // it was reset after the frame began
		c.giveBack(nil, len(b))
		s.held -= len(b)
		return
	}
	s.remoteDone = end
	if len(b) > 0 || end {
		c.ev = Event{Kind: EventData, Stream: s, Data: b, End: end}
	}
}

// Consumed records that the caller has consumed n bytes of a stream's data, so that the peer may send as many more.
func (c *Conn) Consumed(s *Stream, n int) {
	s.held -= n
	c.giveBack(s, n)
}

// giveBack gives n bytes back to the peer's windows for the connection and for a stream. It sends WINDOW_UPDATE only for larger amounts.
func (c *Conn) giveBack(s *Stream, n int) {
	if c.returned += n; c.returned >= c.limits.ConnWindow/2 {
		c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, uint32(c.returned))
		c.recvWindow += int64(c.returned)
		c.returned = 0
	}
	if s == nil || s.remoteDone || s.reset {
		return
	}
	if s.returned += n; s.returned >= c.limits.StreamWindow/2 {
		c.out = appendUint32Frame(c.out, frameWindowUpdate, s.ID, uint32(s.returned))
		s.recvWindow += int64(s.returned)
		s.returned = 0
	}
}

// windowUpdate handles a WINDOW_UPDATE frame, which lets this side send more.
func (c *Conn) windowUpdate(more int64) *ConnError {
	id := c.frame.stream
	if err := c.spend(); err != nil {
		return err
	}
	if id == 0 {
		switch c.sendWindow += more; {
		case more == 0:
			return protocolError("WINDOW_UPDATE by 0")
		case c.sendWindow > windowMax:
			return &ConnError{Code: CodeFlowControl, Reason: "the connection's window becomes too large"}
		}
		c.ev = Event{Kind: EventWindow}
		return nil
	}
	s := c.streams[id]
	switch {
	case s == nil && (id%2 == 0 || id > c.lastID):
		return protocolError("WINDOW_UPDATE on an idle stream")
	case s == nil || s.reset:
		return nil
	case more == 0:
		return c.streamError(s, CodeProtocol)
	}
	if s.sendWindow += more; s.sendWindow > windowMax {
		return c.streamError(s, CodeFlowControl)
	}
	c.ev = Event{Kind: EventWindow, Stream: s}
	return nil
}

// Window returns how many bytes of data may be sent on a stream now.
func (c *Conn) Window(s *Stream) int { return int(max(min(c.sendWindow, s.sendWindow), 0)) }

// refillBytes is the smallest DATA frame that counts as work and refills the budgets: a peer that opens its window byte by byte earns nothing.
const refillBytes = 512

// WriteData writes as much of p to the output as the windows allow, and returns how many bytes that is. If end is set, p is the end of the
// response: the stream ends when all of p has been written.
func (c *Conn) WriteData(s *Stream, p []byte, end bool) (n int) {
	if s.reset || s.localDone {
		return 0
	}
	for first := true; first || n < len(p); first = false {
		size := min(len(p)-n, frameBytesMax, c.Window(s))
		if size == 0 && len(p) > n || size == 0 && !end {
			return n
		}
		flags := uint8(0)
		if end && n+size == len(p) {
			flags = flagEndStream
			s.localDone = true
		}
		c.out = append(appendFrameHeader(c.out, size, frameData, flags, s.ID), p[n:n+size]...)
		c.sendWindow -= int64(size)
		s.sendWindow -= int64(size)
		if n += size; size >= refillBytes || s.localDone {
			c.control.add(4, c.limits.Control)
		}
	}
	return n
}

// peerReset handles the reset of a stream by the peer.
func (c *Conn) peerReset(code Code) *ConnError {
	id := c.frame.stream
	s := c.streams[id]
	switch {
	case s == nil && (id%2 == 0 || id > c.lastID):
		return protocolError("RST_STREAM on an idle stream")
	case s == nil || s.reset:
		return c.spend()
	}
	ended := s.localDone
	s.reset, s.byPeer = true, true
	c.ev = Event{Kind: EventReset, Stream: s, Code: code}
	if ended {
		return c.spend()
	}
	return c.countReset()
}

// streamError resets a stream on which the peer has violated the protocol. If the caller knows the stream, an event reports that.
func (c *Conn) streamError(s *Stream, code Code) *ConnError {
	c.queue(appendUint32Frame(c.out, frameReset, s.ID, uint32(code)))
	s.reset = true
	c.ev = Event{Kind: EventReset, Stream: s, Code: code}
	return c.countReset()
}

// countReset draws on the budget for resets.
func (c *Conn) countReset() *ConnError {
	if !c.client && !c.resets.take(c.limits.Resets, c.now) {
		return &ConnError{CodeEnhanceYourCalm, "too many streams have ended early", LimitResets}
	}
	return nil
}

// beginPriority skips a PRIORITY frame (RFC 9113, section 6.3).
func (c *Conn) beginPriority() *ConnError {
	if c.frame.length == 5 {
		return c.spend()
	}
	if s := c.streams[c.frame.stream]; s != nil && !s.reset {
		return c.streamError(s, CodeFrameSize)
	}
	return frameSizeError("PRIORITY")
}

// Release ends the caller's use of a stream. If this side's message has not ended, the stream is reset with the given code. If only the peer's
// message has not ended, a client resets the stream in the same way, and a server asks its peer not to send the rest (RFC 9113, section 8.1).
func (c *Conn) Release(s *Stream, code Code) {
	mark := uint32(0)
	switch {
	case s.byPeer:
	case s.reset:
		mark = byUs
	case !s.localDone, s.Err != nil, !s.remoteDone:
		mark = byUs
		if c.client {
			// the code tells the peer the reason
		} else if s.Err != nil && s.localDone {
			code = CodeProtocol // the request is malformed
		} else if s.localDone {
			code = CodeNone
		}
		c.out = binary.BigEndian.AppendUint32(appendFrameHeader(c.out, 4, frameReset, 0, s.ID), uint32(code))
	}
	delete(c.streams, s.ID)
	c.recent[c.recents%recentMax] = s.ID | mark
	c.recents++
	c.giveBack(nil, s.held)
	if c.into == s {
		c.into = nil // discard the rest of the current frame
	}
	if c.block.s == s {
		c.block.s, c.block.kind = nil, blockDiscarded
	}
	if len(c.free) < freeMax && cap(s.Head) <= scratchBytes && cap(s.Trailers) <= scratchBytes {
		*s = Stream{Head: s.Head[:0], Trailers: s.Trailers[:0]}
		c.free = append(c.free, s)
	}
}

const (
	freeMax      = 4       // number of released Stream values kept for reuse
	scratchBytes = 2 << 10 // larger buffers are not kept for reuse
)

// isRecent reports whether a stream was released recently.
func (c *Conn) isRecent(id uint32) bool {
	for _, r := range c.recent {
		if r&^byUs == id {
			return true
		}
	}
	return false
}

// wasResetByUs reports whether this side recently reset and released a stream. If so, the peer may have sent a frame before it learned of
// the reset.
func (c *Conn) wasResetByUs(id uint32) bool {
	for _, r := range c.recent {
		if r == id|byUs {
			return true
		}
	}
	return false
}

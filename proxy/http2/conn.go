package http2

import (
	"encoding/binary"
	"time"
)

// Conn is one side of a connection: the server side if it comes from New, the client side if it comes from NewClient. The zero value is not
// usable.
//
// A Conn connects its parts. in cuts the peer's bytes into frames. Each frame is handled by the part that has the state for it: blocks
// (HEADERS, CONTINUATION), streams (DATA, RST_STREAM, PRIORITY, WINDOW_UPDATE) or life (SETTINGS, PING, GOAWAY). These parts write
// this side's responses to out, and draw on budgets.
type Conn struct {
	client  bool // this is the client side
	limits  Limits
	budgets budgets
	in      frameReader
	out     output
	blocks  blockReader
	streams streams
	life    lifecycle
	ev      Event      // the event that Next returns; set by the part that handles a frame
	err     *ConnError // why the connection has ended; nil if it has not
}

// New returns a connection on which the first n bytes of Preface have already arrived. Its output begins with the server's own preface.
func New(limits Limits, n int) *Conn {
	c := newConn(limits, false)
	c.in.seen = n
	settings := appendSetting(nil, settingStreamsMax, uint32(c.limits.Streams))
	c.life.begin(appendSetting(settings, settingConnect, 1), &c.limits)
	return c
}

// newConn creates the parts. They point to each other, so a Conn must not be copied.
func newConn(limits Limits, client bool) *Conn {
	c := &Conn{client: client, limits: limits.withDefaults()}
	c.budgets = newBudgets(c.limits)
	c.blocks.init(client, &c.limits)
	c.streams = newStreams(c.limits, client, &c.out, &c.budgets, &c.ev)
	c.life = lifecycle{client: client, out: &c.out, budgets: &c.budgets, streams: &c.streams, ev: &c.ev}
	return c
}

// Next consumes bytes from the beginning of b, up to the next event, and returns their number. now is the time of any monotonic clock.
// Next does not retain b. After EventNone, the caller must keep the bytes that were not consumed, at most 15, and append those that
// arrive next. The error is a *ConnError, and further calls return it again: the caller must send the output and close the connection.
func (c *Conn) Next(b []byte, now time.Duration) (ev Event, n int, err error) {
	c.budgets.now, c.ev = now, Event{}
	for c.err == nil {
		part, p, used, err := c.in.next(b[n:])
		n += used
		if err == nil {
			err = c.handle(part, p)
		}
		if err == nil && c.out.caused > c.limits.QueuedBytes {
			err = &ConnError{CodeEnhanceYourCalm, "the peer does not read the responses to its frames", LimitQueued}
		}
		if err != nil {
			c.fail(err)
		} else if part == partNone || c.ev.Kind != EventNone {
			return c.ev, n, nil
		}
	}
	return Event{}, n, c.err
}

// fail ends the connection with a GOAWAY frame.
func (c *Conn) fail(err *ConnError) {
	c.err = err
	c.life.writeGoAway(c.streams.lastID, err.Code)
}

// handle handles a part of a frame. The error ends the connection.
func (c *Conn) handle(part framePart, b []byte) *ConnError {
	switch part {
	case partHeader:
		return c.beginFrame(c.in.head)
	case partPrefix:
		return c.prefix(c.in.head, b)
	case partPiece:
		return c.piece(b)
	case partLast:
		if err := c.piece(b); err != nil {
			return err
		}
		return c.endFrame()
	case partEnd:
		return c.endFrame()
	}
	return nil
}

// beginFrame handles the header of a frame.
func (c *Conn) beginFrame(h frameHeader) *ConnError {
	block := &c.blocks.block
	switch {
	case h.length > frameBytesMax:
		return frameSizeError("frame too large")
	case !c.life.ready && (h.kind != frameSettings || h.has(flagAck)):
		return protocolError("the first frame is not SETTINGS")
	case block.open && (h.kind != frameContinuation || h.stream != block.stream):
		return protocolError("a frame within a field block")
	}
	err := h.checkStream()
	if err != nil {
		return err
	}
	switch h.kind {
	case frameData:
		err = c.streams.beginData(h)
	case frameContinuation:
		err = c.blocks.continuation()
	case frameSettings:
		err = c.life.beginSettings(h)
	case framePriority:
		return c.streams.priority(h)
	case framePushPromise:
		err = protocolError("PUSH_PROMISE")
	case frameHeaders, frameReset, framePing, frameGoAway, frameWindowUpdate: // handled with their prefix
	default:
		err = c.budgets.spend() // the type is unknown: the frame is skipped (RFC 9113, section 5.5)
	}
	if err != nil {
		return err
	}
	switch n, valid := h.prefix(); {
	case !valid:
		return frameSizeError("bad frame length")
	case n > 0:
		c.in.expect(n)
		return nil
	}
	return c.prefix(h, nil)
}

// prefix handles the prefix b of a frame; b is empty if the frame has no prefix.
func (c *Conn) prefix(h frameHeader, b []byte) *ConnError {
	switch h.kind {
	case frameData:
		if err := c.in.setPadding(b); err != nil {
			return err
		}
		return c.streams.dataSize(h, c.in.left)
	case frameHeaders:
		if err := c.in.setPadding(b); err != nil {
			return err
		}
		return c.beginBlock(h)
	case frameReset:
		return c.streams.peerReset(h.stream, Code(binary.BigEndian.Uint32(b)))
	case frameWindowUpdate:
		return c.streams.windowUpdate(h.stream, int64(binary.BigEndian.Uint32(b)&windowMax))
	case frameSettings:
		if len(b) == 0 {
			return nil
		}
		if c.in.left > 0 {
			c.in.expect(settingBytes)
		}
		return c.life.setting(binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:]), c.in.left)
	case framePing:
		return c.life.ping(b, h.has(flagAck))
	case frameGoAway:
		return c.life.peerGoAway(binary.BigEndian.Uint32(b)&streamIDMax, Code(binary.BigEndian.Uint32(b[4:])))
	}
	return nil
}

// piece handles a piece of a frame's payload.
func (c *Conn) piece(b []byte) *ConnError {
	switch c.in.head.kind {
	case frameData:
		c.streams.data(b, c.in.last(flagEndStream))
	case frameHeaders, frameContinuation:
		return c.blocks.fragment(b, c.in.last(flagEndHeaders))
	}
	return nil
}

// endFrame is called after the last byte of a frame.
func (c *Conn) endFrame() *ConnError {
	switch h := &c.in.head; {
	case (h.kind == frameHeaders || h.kind == frameContinuation) && h.has(flagEndHeaders):
		return c.endBlock()
	case h.kind == frameSettings && !h.has(flagAck):
		c.life.endSettings()
	}
	return nil
}

// beginBlock begins a field block. It decides to which stream the block belongs.
func (c *Conn) beginBlock(h frameHeader) *ConnError {
	end := h.has(flagEndStream)
	s, err := c.streams.forBlock(h.stream, end)
	c.blocks.begin(h.stream, s, end)
	return err
}

// endBlock reports a field block.
func (c *Conn) endBlock() *ConnError {
	s, kind, violation, err := c.blocks.finish()
	switch {
	case err != nil || s == nil:
		return err
	case violation != CodeNone:
		return c.streams.fail(s, violation)
	case kind != EventTrailers:
		c.budgets.earn(8)
	}
	s.remoteDone = c.blocks.block.end
	c.ev = Event{Kind: kind, Stream: s, End: s.remoteDone}
	return nil
}

// TakeOutput returns the frames to send, empty if there are none, and uses spare as the buffer for later frames.
func (c *Conn) TakeOutput(spare []byte) []byte { return c.out.take(spare) }

// Pending returns the number of bytes of output.
func (c *Conn) Pending() int { return len(c.out.frames) }

// Held returns how many bytes of an unfinished field block are buffered.
func (c *Conn) Held() int { return c.blocks.held() }

// Open returns the number of streams that have not been released.
func (c *Conn) Open() int { return len(c.streams.open) }

// Idle reports whether no stream is open and no frame or field block is incomplete.
func (c *Conn) Idle() bool { return len(c.streams.open) == 0 && c.in.between() && !c.MidBlock() }

// MidBlock reports whether the header of a request, or the preface, is incomplete.
func (c *Conn) MidBlock() bool { return c.blocks.block.open || !c.life.ready }

// GoAway announces that the connection will end (RFC 9113, section 6.8). Streams that the peer opens before it has received the
// announcement are still served. GoAway also sends a PING: when the peer has acknowledged the PING, the last of these streams is known.
func (c *Conn) GoAway() { c.life.goAway() }

// Leave announces which stream is the last one. Later ones are not served: the peer repeats them on another connection.
func (c *Conn) Leave() { c.life.leave() }

// Left reports whether Leave has been called or the peer has acknowledged the PING of GoAway. If so, the connection can be closed as soon
// as it is idle.
func (c *Conn) Left() bool { return c.life.left }

// PeerLeft reports whether the peer has announced that it will open no further streams.
func (c *Conn) PeerLeft() bool { return c.life.peerLeft }

// WriteHead writes the header of a response, interim or final, to the output. block is an HTTP/1.1 header block: the status line, fields,
// and the empty line. WriteHead leaves out the fields that HTTP/2 does not allow (RFC 9113, section 8.2.2). If end is set, the response
// has no body. Status 101 is sent as 200, and makes the stream a tunnel; it is allowed only if s.Upgrade is set.
func (c *Conn) WriteHead(s *Stream, block []byte, end bool) {
	if s.closedHere() || len(block) < len("HTTP/1.1 200") {
		return
	}
	s.tunnel = s.Upgrade && string(block[9:12]) == "101"
	var scratch [512]byte
	c.writeFields(s, appendResponse(c.out.beginFields(scratch[:0]), block), end)
}

// WriteTrailers writes trailers, lines that each end with CRLF, to the output, and ends this side's message.
func (c *Conn) WriteTrailers(s *Stream, lines []byte) {
	if s.closedHere() {
		return
	}
	var scratch [256]byte
	c.writeFields(s, appendFields(c.out.beginFields(scratch[:0]), lines), true)
}

func (c *Conn) writeFields(s *Stream, block []byte, end bool) {
	s.localDone = end
	c.out.fields(s.ID, block, end)
	c.budgets.earn(4)
}

// WriteData writes as much of p to the output as the windows allow, and returns how many bytes that is. If end is set, p is the end of the
// response: the stream ends when all of p has been written.
func (c *Conn) WriteData(s *Stream, p []byte, end bool) (n int) { return c.streams.write(s, p, end) }

// Window returns how many bytes of data may be sent on a stream now.
func (c *Conn) Window(s *Stream) int { return c.streams.window(s) }

// Consumed records that the caller has consumed n bytes of a stream's data, so that the peer may send as many more.
func (c *Conn) Consumed(s *Stream, n int) { c.streams.consumed(s, n) }

// Release ends the caller's use of a stream. If this side's message has not ended, the stream is reset with the given code. If only the
// peer's message has not ended, a client resets the stream in the same way, and a server asks its peer not to send the rest (RFC 9113,
// section 8.1). A tunnel is reset with CANCEL instead of the given code (RFC 8441, section 5).
func (c *Conn) Release(s *Stream, code Code) {
	c.blocks.discard(s)
	c.streams.release(s, code)
}

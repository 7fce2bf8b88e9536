package http2

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Conn is one side of a connection: the server side if it comes from New, the client side if it comes from NewClient. The zero value is not usable.
type Conn struct {
	limits Limits
	client bool          // this is the client side
	now    time.Duration // time passed to the current call of Next
	ev     Event         // the event that Next returns
	err    *ConnError    // why the connection has ended; nil if it has not

	// The frame that is being parsed.
	state readState
	seen  int // bytes of the preface that have arrived
	frame frameHeader
	left  int     // remaining bytes of its payload, without padding
	pad   int     // bytes of padding
	need  int     // size of its next part, which must arrive completely before it is parsed
	ready bool    // the peer's first SETTINGS frame has arrived
	into  *Stream // the stream to which its data goes; nil if the data is discarded

	dec   *hpack.Decoder
	block fieldBlock

	streams map[uint32]*Stream // streams that have not been released
	free    []*Stream
	lastID  uint32 // the highest stream ID that the client has used
	recent  [recentMax]uint32
	recents int // number of streams released so far; the next one goes to recent[recents%recentMax]

	out        []byte // frames to send
	queued     int    // bytes in out that belong to frames which the peer has caused
	sizeSent   bool   // the first field block has announced that no dynamic table is used
	sendWindow int64  // bytes that this side may send, on all streams together
	recvWindow int64  // bytes that the peer may send, on all streams together
	returned   int    // bytes that were consumed but not yet given back to the peer's window
	peerWindow int64  // initial sendWindow of a stream

	resets, control bucket

	leaving  bool // GOAWAY has been sent
	final    bool // the second GOAWAY has been sent: streams after lastSeen are not served
	lastSeen uint32
	peerLeft bool // the peer has sent GOAWAY

	// The client side only.
	settled     bool   // the server's SETTINGS have arrived
	peerStreams uint32 // how many streams the server allows
	peerLast    uint32 // see PeerLast
}

// recentMax is how many released streams are remembered, because frames for them may still be in transit.
const recentMax = 128

// byUs marks a stream in Conn.recent that this side has reset.
const byUs = 1 << 31

type readState uint8

const (
	statePreface readState = iota
	stateHeader            // the header of a frame
	statePart              // a part of a frame's payload, of need bytes, that must arrive completely
	stateBody              // bytes of a frame's payload that are passed on as they arrive
	statePadding
)

// New returns a connection on which the first n bytes of Preface have already arrived. Its output begins with the server's own preface.
func New(limits Limits, n int) *Conn {
	c := newConn(limits)
	c.seen = n
	c.begin(appendSetting(nil, settingStreamsMax, uint32(c.limits.Streams)))
	return c
}

func newConn(limits Limits) *Conn {
	l := limits.withDefaults()
	c := &Conn{
		limits: l, streams: make(map[uint32]*Stream), sendWindow: windowFirst, recvWindow: int64(l.ConnWindow), peerWindow: windowFirst,
		resets: bucket{left: l.Resets.Burst}, control: bucket{left: l.Control.Burst},
	}
	c.dec = hpack.NewDecoder(4096, c.emit)
	c.dec.SetMaxStringLength(c.blockBytesMax())
	return c
}

// begin writes SETTINGS to the output, the given ones and those that both sides send, and opens the connection's window.
func (c *Conn) begin(settings []byte) {
	l := &c.limits
	settings = appendSetting(settings, settingInitialWindow, uint32(l.StreamWindow))
	settings = appendSetting(settings, settingHeaderListMax, uint32(l.HeaderBytes))
	c.out = append(appendFrameHeader(c.out, len(settings), frameSettings, 0, 0), settings...)
	if more := l.ConnWindow - windowFirst; more > 0 {
		c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, uint32(more))
	}
}

// Next consumes bytes from the beginning of b, up to the next event, and returns their number. now is the time of any monotonic clock.
// Next does not retain b. After EventNone, the caller must keep the bytes that were not consumed, at most 15, and append those that
// arrive next. The error is a *ConnError, and further calls return it again: the caller sends the output and closes the connection.
func (c *Conn) Next(b []byte, now time.Duration) (ev Event, n int, err error) {
	c.now, c.ev = now, Event{}
	for more := true; c.err == nil && more && c.ev.Kind == EventNone; {
		var used int
		var failed *ConnError
		used, more, failed = c.step(b[n:])
		n += used
		if failed == nil && c.queued > c.limits.QueuedBytes {
			failed = &ConnError{CodeEnhanceYourCalm, "the peer does not read the responses to its frames", LimitQueued}
		}
		if failed != nil {
			c.fail(failed)
		}
	}
	if c.err != nil {
		return Event{}, n, c.err
	}
	return c.ev, n, nil
}

// fail ends the connection with a GOAWAY frame.
func (c *Conn) fail(err *ConnError) {
	if c.err == nil {
		c.err = err
		c.goAway(c.lastID, err.Code)
	}
}

func protocolError(reason string) *ConnError { return &ConnError{Code: CodeProtocol, Reason: reason} }

func frameSizeError(reason string) *ConnError { return &ConnError{Code: CodeFrameSize, Reason: reason} }

// step parses the next part of a frame. It returns false if that part needs more bytes.
func (c *Conn) step(b []byte) (used int, more bool, err *ConnError) {
	switch c.state {
	case statePreface:
		n := min(len(b), len(Preface)-c.seen)
		if string(b[:n]) != Preface[c.seen:c.seen+n] {
			return 0, false, protocolError("bad connection preface")
		}
		if c.seen += n; c.seen < len(Preface) {
			return n, false, nil
		}
		c.state = stateHeader
		return n, true, nil
	case stateHeader:
		if len(b) < frameHeaderBytes {
			return 0, false, nil
		}
		c.frame = parseFrameHeader(b)
		c.left, c.pad, c.need, c.into, c.state = c.frame.length, 0, 0, nil, stateBody
		return frameHeaderBytes, true, c.beginFrame()
	case statePart:
		if len(b) < c.need {
			return 0, false, nil
		}
		used, c.state = c.need, stateBody
		c.left -= used
		return used, true, c.part(b[:used])
	case stateBody:
		if c.left > 0 && len(b) == 0 {
			return 0, false, nil
		}
		used = min(c.left, len(b))
		c.left -= used
		if c.left == 0 {
			c.state = statePadding
		}
		return used, true, c.body(b[:used])
	default:
		used = min(c.pad, len(b))
		if c.pad -= used; c.pad > 0 {
			return used, false, nil
		}
		c.state = stateHeader
		return used, true, c.endFrame()
	}
}

// beginFrame checks the header of a frame.
func (c *Conn) beginFrame() *ConnError {
	f := &c.frame
	switch {
	case f.length > frameBytesMax:
		return frameSizeError("frame too large")
	case !c.ready && (f.kind != frameSettings || f.has(flagAck)):
		return protocolError("the first frame is not SETTINGS")
	case c.block.open && (f.kind != frameContinuation || f.stream != c.block.stream):
		return protocolError("a frame within a field block")
	}
	switch f.kind {
	case frameData, frameHeaders, frameContinuation, frameReset, framePriority:
		if f.stream == 0 {
			return protocolError("a frame that needs a stream has none")
		}
	case frameSettings, framePing, frameGoAway:
		if f.stream != 0 {
			return protocolError("a frame for the connection on a stream")
		}
	}
	switch f.kind {
	case frameData:
		return c.beginData()
	case frameHeaders:
		return c.beginHeaders()
	case frameContinuation:
		return c.beginContinuation()
	case frameSettings:
		return c.beginSettings()
	case framePushPromise:
		return protocolError("PUSH_PROMISE")
	case framePriority:
		return c.beginPriority()
	case frameReset, frameWindowUpdate:
		return c.expect(4, f.length == 4)
	case framePing:
		return c.expect(8, f.length == 8)
	case frameGoAway:
		return c.expect(8, f.length >= 8)
	}
	return c.spend() // the type is unknown: the frame is skipped (RFC 9113, section 5.5)
}

// expect makes part wait for the next n bytes of the payload.
func (c *Conn) expect(n int, fits bool) *ConnError {
	if !fits {
		return frameSizeError("bad frame length")
	}
	c.need, c.state = n, statePart
	return nil
}

// part handles the bytes for which expect has been called.
func (c *Conn) part(b []byte) *ConnError {
	switch c.frame.kind {
	case frameData:
		return c.dataBegun(int(b[0]))
	case frameHeaders:
		pad := 0
		if c.frame.has(flagPadded) {
			pad = int(b[0])
		}
		return c.headersBegun(pad)
	case frameSettings:
		return c.setting(binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:]))
	case framePing:
		return c.ping(b)
	case frameGoAway:
		return c.peerGoAway(binary.BigEndian.Uint32(b)&streamIDMax, Code(binary.BigEndian.Uint32(b[4:])))
	case frameReset:
		return c.peerReset(Code(binary.BigEndian.Uint32(b)))
	case frameWindowUpdate:
		return c.windowUpdate(int64(binary.BigEndian.Uint32(b) & windowMax))
	}
	return nil
}

// body handles bytes of the payload that are passed on as they arrive.
func (c *Conn) body(b []byte) *ConnError {
	switch c.frame.kind {
	case frameData:
		c.data(b)
	case frameHeaders, frameContinuation:
		return c.fragment(b)
	case frameSettings:
		if len(b) > 0 || c.left > 0 {
			return frameSizeError("SETTINGS")
		}
	}
	return nil
}

// endFrame is called after the last byte of a frame.
func (c *Conn) endFrame() *ConnError {
	switch c.frame.kind {
	case frameHeaders, frameContinuation:
		if c.frame.has(flagEndHeaders) {
			return c.endBlock()
		}
	case frameSettings:
		if !c.frame.has(flagAck) {
			c.queue(appendFrameHeader(c.out, 0, frameSettings, flagAck, 0))
			if c.client {
				c.settled, c.ev = true, Event{Kind: EventSettings}
			}
		}
	}
	return nil
}

// queue makes out the new output. out is the old output, followed by a frame that the peer has caused.
func (c *Conn) queue(out []byte) {
	c.queued += len(out) - len(c.out)
	c.out = out
}

// spend draws on the budget for frames without content.
func (c *Conn) spend() *ConnError {
	if !c.control.take(c.limits.Control, c.now) {
		return &ConnError{CodeEnhanceYourCalm, "too many frames without content", LimitControl}
	}
	return nil
}

// TakeOutput returns the frames to send, empty if there are none, and uses spare as the buffer for later frames.
func (c *Conn) TakeOutput(spare []byte) []byte {
	out := c.out
	c.out, c.queued = spare[:0], 0
	return out
}

// Pending returns the number of bytes of output.
func (c *Conn) Pending() int { return len(c.out) }

// Open returns the number of streams that have not been released.
func (c *Conn) Open() int { return len(c.streams) }

// Idle reports whether no stream is open and no frame or field block is incomplete.
func (c *Conn) Idle() bool {
	return len(c.streams) == 0 && c.state == stateHeader && !c.block.open && c.ready
}

// MidBlock reports whether the header of a request, or the preface, is incomplete.
func (c *Conn) MidBlock() bool { return c.block.open || !c.ready }

// GoAway announces that the connection will end (RFC 9113, section 6.8). Streams that the peer opens before it has received the
// announcement are still served. GoAway also sends a PING: when the peer has acknowledged the PING, the last of these streams is known.
func (c *Conn) GoAway() {
	if c.leaving {
		return
	}
	c.leaving = true
	c.goAway(streamIDMax, CodeNone)
	c.out = append(appendFrameHeader(c.out, 8, framePing, 0, 0), pingLeaving...)
}

// pingLeaving is the content of the PING that GoAway sends.
const pingLeaving = "goodbye!"

// Leave announces which stream is the last one. Later ones are not served: the peer repeats them on another connection.
func (c *Conn) Leave() {
	if !c.final {
		c.leaving, c.final, c.lastSeen = true, true, c.lastID
		c.goAway(c.lastID, CodeNone)
	}
}

// Left reports whether Leave has been called or the peer has acknowledged the PING of GoAway. If so, the connection can be closed as soon as it is
// idle.
func (c *Conn) Left() bool { return c.final }

// PeerLeft reports whether the peer has announced that it will open no further streams.
func (c *Conn) PeerLeft() bool { return c.peerLeft }

// peerGoAway reports a GOAWAY from the peer, unless it says nothing new.
func (c *Conn) peerGoAway(last uint32, code Code) *ConnError {
	if c.peerLeft && (!c.client || last >= c.peerLast) {
		return c.spend()
	}
	c.peerLeft, c.peerLast = true, min(c.peerLast, last)
	for id, s := range c.streams {
		if c.client && id > last {
			s.reset, s.byPeer = true, true // the server ignores them
		}
	}
	c.ev = Event{Kind: EventGoAway, Code: code}
	return nil
}

func (c *Conn) goAway(last uint32, code Code) {
	if c.client {
		last = 0 // a server opens no streams
	}
	c.out = binary.BigEndian.AppendUint32(appendFrameHeader(c.out, 8, frameGoAway, 0, 0), last)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(code))
}

// ping handles a PING frame: it acknowledges a ping, and acts on an acknowledgment.
func (c *Conn) ping(b []byte) *ConnError {
	if !c.frame.has(flagAck) {
		c.queue(append(appendFrameHeader(c.out, 8, framePing, flagAck, 0), b...))
	} else if c.leaving && string(b) == pingLeaving {
		c.Leave()
	} else if c.client {
		c.ev = Event{Kind: EventPong}
	}
	return c.spend()
}

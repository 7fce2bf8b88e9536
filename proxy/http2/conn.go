package http2

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Conn is one side of a connection: a server's if it comes from New, a client's if it comes from NewClient. The zero value is not usable.
type Conn struct {
	limits Limits
	client bool          // this is the client's side
	now    time.Duration // of the present call of Next
	ev     Event         // what Next returns
	err    *ConnError    // why the connection has ended; nil: it has not

	// The frame that is being read.
	state readState
	seen  int // bytes of the preface
	frame frameHeader
	left  int     // bytes of its payload, without what state has passed and without padding
	pad   int     // bytes of padding
	need  int     // bytes of its next part, which is read whole
	ready bool    // a SETTINGS frame has come
	into  *Stream // where its data goes; nil: nowhere

	dec   *hpack.Decoder
	block fieldBlock

	streams map[uint32]*Stream // not released
	free    []*Stream
	lastID  uint32 // the highest that the client has used
	recent  [recentMax]uint32
	recents int // counts up; the next one goes to recent[recents%recentMax]

	out        []byte // frames to send
	queued     int    // bytes in out of frames that the peer has caused
	sizeSent   bool   // the first field block has announced that no dynamic table is used
	sendWindow int64  // what may be sent, on all streams
	recvWindow int64  // what the peer may send, on all streams
	returned   int    // bytes that were consumed and not returned to the peer
	peerWindow int64  // the first sendWindow of a stream

	resets, control bucket

	leaving  bool // GOAWAY was sent
	final    bool // the second GOAWAY was sent: streams after lastSeen do not begin
	lastSeen uint32
	peerLeft bool // the peer has sent GOAWAY

	// Of a client.
	settled     bool   // the values of the server's SETTINGS are known
	peerStreams uint32 // how many streams the server allows
	peerLast    uint32 // see PeerLast
}

// recentMax is how many released streams are remembered, because frames may still be under way to them.
const recentMax = 128

// byUs marks an element of Conn.recent: this side has reset the stream.
const byUs = 1 << 31

type readState uint8

const (
	statePreface readState = iota
	stateHeader            // of a frame
	statePart              // need bytes of a frame's payload that are read whole
	stateBody              // bytes of its payload that are passed on as they come
	statePadding
)

// New returns a connection whose first bytes were the first n of Preface. Its output begins with the server's own preface.
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

// begin puts out SETTINGS, with those that are given and those of both sides, and opens the connection's window.
func (c *Conn) begin(settings []byte) {
	l := &c.limits
	settings = appendSetting(settings, settingInitialWindow, uint32(l.StreamWindow))
	settings = appendSetting(settings, settingHeaderListMax, uint32(l.HeaderBytes))
	c.out = append(appendFrameHeader(c.out, len(settings), frameSettings, 0, 0), settings...)
	if more := l.ConnWindow - windowFirst; more > 0 {
		c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, uint32(more))
	}
}

// Next takes bytes from the front of b, up to the next event, and returns how many. now is the time of any steady clock. It keeps no part
// of b. After EventNone, the caller must add bytes behind those that were not taken, at most 15. The error is a *ConnError, and then
// stays: the caller sends the output and closes the connection.
func (c *Conn) Next(b []byte, now time.Duration) (ev Event, n int, err error) {
	c.now, c.ev = now, Event{}
	for more := true; c.err == nil && more && c.ev.Kind == EventNone; {
		var used int
		var failed *ConnError
		used, more, failed = c.step(b[n:])
		n += used
		if failed == nil && c.queued > c.limits.QueuedBytes {
			failed = &ConnError{CodeEnhanceYourCalm, "the peer does not read", LimitQueued}
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

// fail ends the connection with a GOAWAY.
func (c *Conn) fail(err *ConnError) {
	if c.err == nil {
		c.err = err
		c.goAway(c.lastID, err.Code)
	}
}

func protocolError(reason string) *ConnError { return &ConnError{Code: CodeProtocol, Reason: reason} }

func frameSizeError(reason string) *ConnError { return &ConnError{Code: CodeFrameSize, Reason: reason} }

// step takes the next part of a frame. It reports false if that needs more bytes.
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
			return protocolError("a frame that needs a stream")
		}
	case frameSettings, framePing, frameGoAway:
		if f.stream != 0 {
			return protocolError("a frame of the connection on a stream")
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
	return c.spend() // unknown; it is skipped (RFC 9113, section 5.5)
}

// expect makes the next n bytes of the payload be read whole.
func (c *Conn) expect(n int, fits bool) *ConnError {
	if !fits {
		return frameSizeError("bad length of a frame")
	}
	c.need, c.state = n, statePart
	return nil
}

// part handles the bytes that expect has asked for.
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

// body handles bytes of the payload that are passed on as they come.
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

// endFrame is called behind the last byte of a frame.
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

// queue takes the output with a frame appended that the peer has caused.
func (c *Conn) queue(out []byte) {
	c.queued += len(out) - len(c.out)
	c.out = out
}

// spend draws on the budget of frames that carry nothing.
func (c *Conn) spend() *ConnError {
	if !c.control.take(c.limits.Control, c.now) {
		return &ConnError{CodeEnhanceYourCalm, "too many frames that carry nothing", LimitControl}
	}
	return nil
}

// TakeOutput returns the frames to send, and continues with another buffer. It is empty if there is nothing to send.
func (c *Conn) TakeOutput(spare []byte) []byte {
	out := c.out
	c.out, c.queued = spare[:0], 0
	return out
}

// Pending returns how many bytes of output there are.
func (c *Conn) Pending() int { return len(c.out) }

// Open returns how many streams are not released.
func (c *Conn) Open() int { return len(c.streams) }

// Idle reports whether no stream is open and no frame or field block is incomplete.
func (c *Conn) Idle() bool {
	return len(c.streams) == 0 && c.state == stateHeader && !c.block.open && c.ready
}

// MidBlock reports whether the header of a request, or the preface, is incomplete.
func (c *Conn) MidBlock() bool { return c.block.open || !c.ready }

// GoAway announces that the connection ends (RFC 9113, section 6.8). Streams that the peer has opened without having seen it are still
// served. A PING follows; when the peer has answered it, the last of these streams is known.
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

// Leave says which stream is the last one. Later ones do not begin: the peer repeats them elsewhere.
func (c *Conn) Leave() {
	if !c.final {
		c.leaving, c.final, c.lastSeen = true, true, c.lastID
		c.goAway(c.lastID, CodeNone)
	}
}

// Left reports whether Leave was called, or the peer has answered the PING of GoAway. Then the connection can be closed as soon as it is idle.
func (c *Conn) Left() bool { return c.final }

// PeerLeft reports whether the peer opens no further streams.
func (c *Conn) PeerLeft() bool { return c.peerLeft }

// peerGoAway reports a GOAWAY of the peer, unless it says nothing new.
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

// ping answers a PING.
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

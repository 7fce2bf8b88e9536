package http2

// This file contains the states of streams (RFC 9113, section 5.1): which streams exist, and which frames the peer may send on them.

// streams are the streams of a connection, and the windows that they share. A stream is open from its first frame until the caller releases
// it. Frames for a released stream may still be in transit. They are ignored if this side has reset the stream, and are errors otherwise:
// that is why the last recentMax released streams are remembered.
//
// A method that handles a frame sets *ev if there is something to report. The error ends the connection.
type streams struct {
	client  bool // this is the client side
	max     int  // Limits.Streams
	out     *output
	budgets *budgets
	ev      *Event // what Conn.Next reports

	open    map[uint32]*Stream
	free    []*Stream         // released Stream values, kept for reuse
	lastID  uint32            // the highest stream ID that the client has used
	served  uint32            // later streams are not served (Conn.Leave)
	recent  [recentMax]uint32 // released streams, with byUs added
	recents int               // number of streams released so far; the next one goes to recent[recents%recentMax]

	send         sendWindow // on all streams together
	recv         recvWindow // on all streams together
	sendInitial  int64      // initial size of a stream's sendWindow
	streamWindow int        // initial size of a stream's recvWindow

	into *Stream // the stream to which the data of the current DATA frame goes; nil if the data is discarded
}

const (
	recentMax    = 128
	byUs         = 1 << 31 // marks a stream in streams.recent that this side has reset
	freeMax      = 4       // number of released Stream values kept for reuse
	scratchBytes = 2 << 10 // larger buffers are not kept for reuse
)

func newStreams(l Limits, client bool, out *output, b *budgets, ev *Event) streams {
	return streams{
		client: client, max: l.Streams, out: out, budgets: b, ev: ev, open: make(map[uint32]*Stream), served: streamIDMax,
		send: windowFirst, recv: newRecvWindow(l.ConnWindow), sendInitial: windowFirst, streamWindow: l.StreamWindow,
	}
}

// begin opens a stream.
func (t *streams) begin(id uint32) *Stream {
	var s *Stream
	if n := len(t.free); n > 0 {
		s, t.free = t.free[n-1], t.free[:n-1]
	} else {
		s = &Stream{}
	}
	s.ID, s.length, s.send, s.recv = id, -1, sendWindow(t.sendInitial), newRecvWindow(t.streamWindow)
	t.open[id] = s
	t.lastID = id
	return s
}

// next opens the client's next stream.
func (t *streams) next() *Stream {
	if t.lastID == 0 {
		return t.begin(1)
	}
	return t.begin(t.lastID + 2)
}

// idle reports whether a stream has never been opened. Streams with even numbers never are: only the server could open them.
func (t *streams) idle(id uint32) bool { return id%2 == 0 || id > t.lastID }

// remember records that a stream was released or refused. mark is byUs or 0.
func (t *streams) remember(id, mark uint32) {
	t.recent[t.recents%recentMax] = id | mark
	t.recents++
}

// isRecent reports whether a stream was released recently.
func (t *streams) isRecent(id uint32) bool {
	for _, r := range t.recent {
		if r&^byUs == id {
			return true
		}
	}
	return false
}

// wasResetByUs reports whether this side recently reset and released a stream. If so, the peer may have sent a frame before it learned of
// the reset.
func (t *streams) wasResetByUs(id uint32) bool {
	for _, r := range t.recent {
		if r == id|byUs {
			return true
		}
	}
	return false
}

// forBlock finds or opens the stream of a field block; nil means that the block is discarded. end reports whether nothing follows the
// block.
func (t *streams) forBlock(id uint32, end bool) (*Stream, *ConnError) {
	if t.client {
		return t.forResponse(id, end)
	}
	return t.forRequest(id, end)
}

func (t *streams) forRequest(id uint32, end bool) (*Stream, *ConnError) {
	s := t.open[id]
	switch {
	case s != nil && s.byPeer:
		return nil, &ConnError{Code: CodeStreamClosed, Reason: "HEADERS on a stream that the peer has reset"}
	case s != nil && s.ignored():
		return nil, nil
	case s != nil && s.remoteDone:
		return nil, t.fail(s, CodeStreamClosed)
	case s != nil && (!end || s.Upgrade): // RFC 9113, sections 8.1 and 8.5
		return nil, t.fail(s, CodeProtocol)
	case s != nil:
		return s, nil
	case id%2 == 0:
		return nil, protocolError("a client's stream has an even number")
	case id <= t.lastID && (id > t.served || t.wasResetByUs(id)):
		return nil, nil
	case id <= t.lastID && t.isRecent(id):
		return nil, &ConnError{Code: CodeStreamClosed, Reason: "HEADERS on a closed stream"}
	case id <= t.lastID:
		return nil, protocolError("a stream's number is not higher than the previous one")
	case id > t.served:
		t.lastID = id
		return nil, nil
	case len(t.open) >= t.max:
		t.lastID = id
		t.remember(id, byUs)
		t.out.resetCaused(id, CodeRefusedStream)
		*t.ev = Event{Kind: EventRefused, Code: CodeRefusedStream}
		return nil, t.budgets.spend()
	}
	return t.begin(id), nil
}

func (t *streams) forResponse(id uint32, end bool) (*Stream, *ConnError) {
	s := t.open[id]
	switch {
	case s == nil && t.idle(id):
		return nil, protocolError("HEADERS on an idle stream")
	case s == nil, s.reset:
		return nil, nil
	case s.remoteDone:
		return nil, t.fail(s, CodeStreamClosed)
	case s.final && (!end || s.tunnel): // RFC 9113, sections 8.1 and 8.5
		return nil, t.fail(s, CodeProtocol)
	}
	return s, nil
}

// fail resets a stream on which the peer has violated the protocol, and reports that.
func (t *streams) fail(s *Stream, code Code) *ConnError {
	t.out.resetCaused(s.ID, code)
	s.reset = true
	*t.ev = Event{Kind: EventReset, Stream: s, Code: code}
	return t.endedEarly()
}

// endedEarly draws on the budget for resets. A server cannot exhaust a client: it can only reset the streams that the client opens.
func (t *streams) endedEarly() *ConnError {
	if t.client {
		return nil
	}
	return t.budgets.spendReset()
}

// peerReset handles RST_STREAM.
func (t *streams) peerReset(id uint32, code Code) *ConnError {
	s := t.open[id]
	switch {
	case s == nil && t.idle(id):
		return protocolError("RST_STREAM on an idle stream")
	case s == nil || s.reset:
		return t.budgets.spend()
	}
	s.reset, s.byPeer = true, true
	*t.ev = Event{Kind: EventReset, Stream: s, Code: code}
	if s.localDone {
		return t.budgets.spend()
	}
	return t.endedEarly()
}

// priority skips PRIORITY (RFC 9113, section 6.3).
func (t *streams) priority(h frameHeader) *ConnError {
	if h.length == 5 {
		return t.budgets.spend()
	}
	if s := t.open[h.stream]; s != nil && !s.reset {
		return t.fail(s, CodeFrameSize)
	}
	return frameSizeError("PRIORITY")
}

// ignoredAfter handles the server's announcement that it ignores all streams after last.
func (t *streams) ignoredAfter(last uint32) {
	for id, s := range t.open {
		if id > last {
			s.reset, s.byPeer = true, true
		}
	}
}

// release ends the use of a stream: see Conn.Release.
func (t *streams) release(s *Stream, code Code) {
	mark := uint32(0)
	if s.tunnel {
		code = CodeCancel
	}
	switch {
	case s.byPeer:
	case s.reset:
		mark = byUs
	case !s.localDone, s.Err != nil, !s.remoteDone:
		mark = byUs
		if t.client {
			// the code tells the peer the reason
		} else if s.Err != nil && s.localDone {
			code = CodeProtocol // the request is malformed
		} else if s.localDone {
			code = CodeNone
		}
		t.out.reset(s.ID, code)
	}
	delete(t.open, s.ID)
	t.remember(s.ID, mark)
	t.giveBack(nil, s.held)
	if t.into == s {
		t.into = nil // discard the rest of the current frame
	}
	if len(t.free) < freeMax && cap(s.Head) <= scratchBytes && cap(s.Trailers) <= scratchBytes {
		*s = Stream{Head: s.Head[:0], Trailers: s.Trailers[:0]}
		t.free = append(t.free, s)
	}
}

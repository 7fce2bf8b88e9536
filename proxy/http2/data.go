package http2

// This file handles DATA and WINDOW_UPDATE frames (RFC 9113, sections 6.1 and 6.9).

// refillBytes is the smallest DATA frame that counts as work and refills the budgets: a peer that opens its window byte by byte earns
// nothing.
const refillBytes = 512

// beginData handles the header of a DATA frame. The whole payload, including padding, counts against the windows, even if the data is
// discarded.
func (t *streams) beginData(h frameHeader) *ConnError {
	t.into = nil
	if h.length == 0 && !h.has(flagEndStream) {
		if err := t.budgets.spend(); err != nil {
			return err
		}
	}
	if !t.recv.take(h.length) {
		return &ConnError{Code: CodeFlowControl, Reason: "more DATA than the connection's window allows"}
	}
	return nil
}

// dataSize handles a DATA frame as soon as the number of bytes of data in its payload, without padding, is known.
func (t *streams) dataSize(h frameHeader, size int) *ConnError {
	s, err := t.forData(h.stream)
	if err != nil || s == nil {
		t.giveBack(nil, h.length)
		return err
	}
	if !s.recv.take(h.length) {
		t.giveBack(nil, h.length)
		return t.fail(s, CodeFlowControl)
	}
	total := s.received + int64(size)
	if s.length >= 0 && (total > s.length || h.has(flagEndStream) && total < s.length) {
		t.giveBack(nil, h.length)
		return t.fail(s, CodeProtocol) // RFC 9113, section 8.1.1
	}
	t.into, s.received = s, total
	s.held += size
	t.giveBack(s, h.length-size)
	if size == 0 && h.length > 0 && !h.has(flagEndStream) {
		return t.budgets.spend() // the frame contains only padding
	}
	return nil
}

// forData returns the stream to which the data of a frame goes, or nil if the data is discarded.
func (t *streams) forData(id uint32) (*Stream, *ConnError) {
	s := t.open[id]
	switch {
	case s != nil && s.byPeer: // the same as if it had been released
	case s != nil && s.ignored():
		return nil, nil
	case s != nil && s.remoteDone:
		return nil, t.fail(s, CodeStreamClosed)
	case s != nil && !s.final:
		return nil, t.fail(s, CodeProtocol)
	case s != nil:
		return s, nil
	case t.idle(id):
		return nil, protocolError("DATA on an idle stream")
	case t.wasResetByUs(id), id > t.served:
		return nil, nil
	}
	t.out.resetCaused(id, CodeStreamClosed)
	return nil, t.endedEarly()
}

// data handles a piece of data. end reports whether the peer's message is complete.
func (t *streams) data(b []byte, end bool) {
	s := t.into
	if s == nil || len(b) == 0 && !end {
		return
	}
	s.remoteDone = end
	ev := t.ev
	ev.Kind, ev.Stream, ev.Data, ev.End = EventData, s, b, end
}

// consumed records that n bytes of a stream's data are no longer in use.
func (t *streams) consumed(s *Stream, n int) {
	s.held -= n
	t.giveBack(s, n)
}

// giveBack gives n bytes back to the peer's windows for the connection and, unless it is nil or complete, for a stream.
func (t *streams) giveBack(s *Stream, n int) {
	if more := t.recv.giveBack(n); more > 0 {
		t.out.windowUpdate(0, uint32(more))
	}
	if s == nil || s.remoteDone || s.reset {
		return
	}
	if more := s.recv.giveBack(n); more > 0 {
		t.out.windowUpdate(s.ID, uint32(more))
	}
}

// window returns how many bytes of data may be sent on a stream now.
func (t *streams) window(s *Stream) int { return int(max(min(t.send, s.send), 0)) }

// write writes data to the output: see Conn.WriteData.
func (t *streams) write(s *Stream, p []byte, end bool) (n int) {
	if s.closedHere() {
		return 0
	}
	for first := true; first || n < len(p); first = false {
		size := min(len(p)-n, frameBytesMax, t.window(s))
		if size == 0 && len(p) > n || size == 0 && !end {
			return n
		}
		flags := uint8(0)
		if end && n+size == len(p) {
			flags = flagEndStream
			s.localDone = true
		}
		t.out.data(s.ID, p[n:n+size], flags)
		t.send -= sendWindow(size)
		s.send -= sendWindow(size)
		if n += size; size >= refillBytes || s.localDone {
			t.budgets.earn(4)
		}
	}
	return n
}

// windowUpdate handles WINDOW_UPDATE, which lets this side send more.
func (t *streams) windowUpdate(id uint32, more int64) *ConnError {
	if err := t.budgets.spend(); err != nil {
		return err
	}
	if id == 0 {
		if more == 0 {
			return protocolError("WINDOW_UPDATE by 0")
		}
		if !t.send.grow(more) {
			return &ConnError{Code: CodeFlowControl, Reason: "the connection's window becomes too large"}
		}
		*t.ev = Event{Kind: EventWindow}
		return nil
	}
	s := t.open[id]
	switch {
	case s == nil && t.idle(id):
		return protocolError("WINDOW_UPDATE on an idle stream")
	case s == nil || s.reset:
		return nil
	case more == 0:
		return t.fail(s, CodeProtocol)
	case !s.send.grow(more):
		return t.fail(s, CodeFlowControl)
	}
	*t.ev = Event{Kind: EventWindow, Stream: s}
	return nil
}

// initialWindow handles SETTINGS_INITIAL_WINDOW_SIZE, which changes the windows of all streams (RFC 9113, section 6.9.2).
func (t *streams) initialWindow(size int64) *ConnError {
	if size > windowMax {
		return &ConnError{Code: CodeFlowControl, Reason: "SETTINGS_INITIAL_WINDOW_SIZE"}
	}
	more := size - t.sendInitial
	t.sendInitial = size
	for _, s := range t.open {
		if !s.send.grow(more) {
			return &ConnError{Code: CodeFlowControl, Reason: "SETTINGS_INITIAL_WINDOW_SIZE makes a window too large"}
		}
	}
	if more > 0 {
		*t.ev = Event{Kind: EventWindow}
	}
	return nil
}

package http2

// This file handles SETTINGS, PING and GOAWAY: how a connection begins, is kept alive, and ends (RFC 9113, sections 6.5, 6.7, 6.8).

// lifecycle is the state of the connection as a whole. SETTINGS are the first frame that either side sends. A side ends the connection
// without losing streams in two steps: its first GOAWAY announces that the connection will end, and its second GOAWAY names the last
// stream.
//
// A method that handles a frame sets *ev if there is something to report. The error ends the connection.
type lifecycle struct {
	client  bool // this is the client side
	out     *output
	budgets *budgets
	streams *streams
	ev      *Event // what Conn.Next reports

	ready      bool   // the peer's first SETTINGS frame has begun
	settled    bool   // the peer's first SETTINGS frame is complete
	streamsMax uint32 // client side only: how many streams the server allows
	connect    bool   // client side only: the server accepts extended CONNECT

	leaving  bool   // the first GOAWAY has been sent
	left     bool   // the second GOAWAY has been sent
	peerLeft bool   // the peer has sent GOAWAY
	peerLast uint32 // client side only: see Conn.PeerLast
}

// begin writes this side's SETTINGS and opens the connection's window. settings contains those that only this side sends; begin adds
// those that both sides send.
func (l *lifecycle) begin(settings []byte, limits *Limits) {
	settings = appendSetting(settings, settingInitialWindow, uint32(limits.StreamWindow))
	settings = appendSetting(settings, settingHeaderListMax, uint32(limits.HeaderBytes))
	l.out.settings(settings)
	if more := limits.ConnWindow - windowFirst; more > 0 {
		l.out.windowUpdate(0, uint32(more))
	}
}

// beginSettings handles the header of a SETTINGS frame. An acknowledgment changes nothing: this side sends SETTINGS only once, and behaves
// accordingly from the beginning.
func (l *lifecycle) beginSettings(h frameHeader) *ConnError {
	l.ready = true
	switch {
	case h.has(flagAck) && h.length > 0:
		return frameSizeError("a SETTINGS acknowledgment with a payload")
	case h.has(flagAck):
		return nil
	case h.length%settingBytes != 0:
		return frameSizeError("SETTINGS")
	}
	return l.budgets.spend()
}

// setting applies one of the peer's settings. It ignores unknown settings, and limits on features that this side does not use. left is the
// number of bytes in the settings that follow.
func (l *lifecycle) setting(id uint16, value uint32, left int) *ConnError {
	if left > 0 && left%(10*settingBytes) == 0 { // a frame may contain thousands of settings
		if err := l.budgets.spend(); err != nil {
			return err
		}
	}
	switch id {
	case settingEnablePush:
		if value > 1 {
			return protocolError("SETTINGS_ENABLE_PUSH")
		}
	case settingStreamsMax:
		l.streamsMax = value
	case settingFrameBytesMax:
		if value < frameBytesMax || value > 1<<24-1 {
			return protocolError("SETTINGS_MAX_FRAME_SIZE")
		}
	case settingConnect:
		if value > 1 {
			return protocolError("SETTINGS_ENABLE_CONNECT_PROTOCOL")
		}
		l.connect = value == 1
	case settingInitialWindow:
		return l.streams.initialWindow(int64(value))
	}
	return nil
}

// endSettings acknowledges the peer's SETTINGS.
func (l *lifecycle) endSettings() {
	l.settled = true
	l.out.settingsAck()
	if l.client {
		*l.ev = Event{Kind: EventSettings}
	}
}

// pingLeaving and pingAlive are the contents of the two kinds of PING that this side sends.
const (
	pingLeaving = "goodbye!"
	pingAlive   = "liveness"
)

// ping handles PING: it acknowledges one, and acts on an acknowledgment.
func (l *lifecycle) ping(content []byte, ack bool) *ConnError {
	switch {
	case !ack:
		l.out.pingAck(content)
	case l.leaving && string(content) == pingLeaving:
		l.leave()
	case l.client:
		*l.ev = Event{Kind: EventPong}
	}
	return l.budgets.spend()
}

// goAway announces the end of the connection: see Conn.GoAway.
func (l *lifecycle) goAway() {
	if l.leaving {
		return
	}
	l.leaving = true
	l.writeGoAway(streamIDMax, CodeNone)
	l.out.ping(pingLeaving)
}

// leave announces which stream is the last one.
func (l *lifecycle) leave() {
	if l.left {
		return
	}
	l.leaving, l.left = true, true
	l.streams.served = l.streams.lastID
	l.writeGoAway(l.streams.lastID, CodeNone)
}

func (l *lifecycle) writeGoAway(last uint32, code Code) {
	if l.client {
		last = 0 // a server opens no streams
	}
	l.out.goAway(last, code)
}

// peerGoAway handles GOAWAY. It reports nothing if the frame says nothing new.
func (l *lifecycle) peerGoAway(last uint32, code Code) *ConnError {
	if l.peerLeft && (!l.client || last >= l.peerLast) {
		return l.budgets.spend()
	}
	l.peerLeft, l.peerLast = true, min(l.peerLast, last)
	if l.client {
		l.streams.ignoredAfter(last)
	}
	*l.ev = Event{Kind: EventGoAway, Code: code}
	return nil
}

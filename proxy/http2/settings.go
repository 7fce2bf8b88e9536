package http2

// SETTINGS of the peer (RFC 9113, section 6.5).

func (c *Conn) beginSettings() *ConnError {
	f := &c.frame
	c.ready = true
	if f.has(flagAck) {
		if f.length != 0 {
			return frameSizeError("SETTINGS with an acknowledgement")
		}
		return nil // this side sends SETTINGS once, and grants everything from the beginning
	}
	if f.length%6 != 0 {
		return frameSizeError("SETTINGS")
	}
	if err := c.spend(); err != nil || f.length == 0 {
		return err
	}
	return c.expect(6, true)
}

// setting applies one of the peer's settings. Those that are unknown, or that limit what this side does not do, mean nothing here.
func (c *Conn) setting(id uint16, value uint32) *ConnError {
	if c.left > 0 {
		c.state = statePart // the next one
		if c.left%60 == 0 { // a frame may have thousands
			if err := c.spend(); err != nil {
				return err
			}
		}
	}
	switch id {
	case settingEnablePush:
		if value > 1 {
			return protocolError("SETTINGS_ENABLE_PUSH")
		}
	case settingStreamsMax:
		c.peerStreams = value
	case settingFrameBytesMax:
		if value < frameBytesMax || value > 1<<24-1 {
			return protocolError("SETTINGS_MAX_FRAME_SIZE")
		}
	case settingInitialWindow:
		return c.initialWindow(int64(value))
	}
	return nil
}

// initialWindow changes the windows of all streams (RFC 9113, section 6.9.2). They may become negative.
func (c *Conn) initialWindow(size int64) *ConnError {
	if size > windowMax {
		return &ConnError{Code: CodeFlowControl, Reason: "SETTINGS_INITIAL_WINDOW_SIZE"}
	}
	more := size - c.peerWindow
	c.peerWindow = size
	for _, s := range c.streams {
		if s.sendWindow += more; s.sendWindow > windowMax {
			return &ConnError{Code: CodeFlowControl, Reason: "SETTINGS_INITIAL_WINDOW_SIZE makes a window too large"}
		}
	}
	if more > 0 {
		c.ev = Event{Kind: EventWindow}
	}
	return nil
}

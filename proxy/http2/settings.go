package http2

// This file handles the peer's SETTINGS (RFC 9113, section 6.5).

func (c *Conn) beginSettings() *ConnError {
	f := &c.frame
	c.ready = true
	if f.has(flagAck) {
		if f.length != 0 {
			return frameSizeError("a SETTINGS acknowledgement with a payload")
		}
		return nil // nothing to do: this side sends SETTINGS only once, and behaves accordingly from the beginning
	}
	if f.length%6 != 0 {
		return frameSizeError("SETTINGS")
	}
	if err := c.spend(); err != nil || f.length == 0 {
		return err
	}
	return c.expect(6, true)
}

// setting applies one of the peer's settings. It ignores unknown settings, and those that limit something that this side does not do.
func (c *Conn) setting(id uint16, value uint32) *ConnError {
	if c.left > 0 {
		c.state = statePart // for the next setting
		if c.left%60 == 0 { // a frame may contain thousands of settings
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

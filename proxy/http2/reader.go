package http2

// This file cuts the bytes that arrive into frames. It parses the layout of frames, but does not interpret their contents.

// frameReader is the position in the peer's bytes. It keeps none of these bytes: the parts that it reports are in the caller's buffer.
//
// The payload of a frame consists of a prefix, pieces and padding. The prefix must arrive completely before it is reported, pieces are
// reported as they arrive, and padding is skipped. A frame of unknown type has only pieces. A SETTINGS frame has a prefix for each
// setting, and no pieces.
type frameReader struct {
	state readState
	seen  int         // bytes of the preface that have arrived
	head  frameHeader // of the current frame
	left  int         // bytes of its payload that have not been reported, without padding
	pad   int         // bytes of padding that have not arrived
	need  int         // size of the prefix
}

type readState uint8

const (
	statePreface readState = iota
	stateHeader
	statePrefix
	statePieces
	statePadding
)

// framePart is what frameReader.next reports.
type framePart uint8

const (
	partNone    framePart = iota // more bytes are needed
	partPreface                  // the client's preface is complete
	partHeader                   // head is the header of a new frame
	partPrefix                   // a prefix
	partPiece                    // a piece; each frame has at least one, which may be empty
	partLast                     // the last piece of a frame without padding, which is complete
	partEnd                      // the end of the padding: the frame is complete
)

// next consumes bytes from the beginning of b, up to the end of the next part of a frame. It returns the kind of the part, the number of
// bytes consumed and, for a prefix or a piece, the bytes of the part.
func (r *frameReader) next(b []byte) (got framePart, bytes []byte, used int, err *ConnError) {
	switch r.state {
	case statePreface:
		used = min(len(b), len(Preface)-r.seen)
		if string(b[:used]) != Preface[r.seen:r.seen+used] {
			return partNone, nil, 0, protocolError("bad connection preface")
		}
		if r.seen += used; r.seen < len(Preface) {
			return partNone, nil, used, nil
		}
		r.state = stateHeader
		return partPreface, nil, used, nil
	case stateHeader:
		if len(b) < frameHeaderBytes {
			return partNone, nil, 0, nil
		}
		r.head = parseFrameHeader(b)
		r.left, r.pad, r.need, r.state = r.head.length, 0, 0, statePieces
		return partHeader, nil, frameHeaderBytes, nil
	case statePrefix:
		if len(b) < r.need {
			return partNone, nil, 0, nil
		}
		r.left, r.state = r.left-r.need, statePieces
		return partPrefix, b[:r.need], r.need, nil
	case statePieces:
		if r.left > 0 && len(b) == 0 {
			return partNone, nil, 0, nil
		}
		used = min(r.left, len(b))
		switch r.left -= used; {
		case r.left > 0:
			return partPiece, b[:used], used, nil
		case r.pad > 0:
			r.state = statePadding
			return partPiece, b[:used], used, nil
		}
		r.state = stateHeader
		return partLast, b[:used], used, nil
	default:
		used = min(r.pad, len(b))
		if r.pad -= used; r.pad > 0 {
			return partNone, nil, used, nil
		}
		r.state = stateHeader
		return partEnd, nil, used, nil
	}
}

// expect makes the next n bytes of the payload a prefix.
func (r *frameReader) expect(n int) { r.need, r.state = n, statePrefix }

// setPadding takes the length of the padding from the prefix of a DATA or HEADERS frame.
func (r *frameReader) setPadding(prefix []byte) *ConnError {
	if !r.head.has(flagPadded) {
		return nil
	}
	pad := int(prefix[0])
	if pad > r.left {
		return protocolError("padding longer than its frame")
	}
	r.pad, r.left = pad, r.left-pad
	return nil
}

// last reports whether the current piece is the last one of its frame, and the frame has the given flag.
func (r *frameReader) last(flag uint8) bool { return r.left == 0 && r.head.has(flag) }

// between reports whether the last frame is complete and the next one has not begun.
func (r *frameReader) between() bool { return r.state == stateHeader }

// prefix returns the size of the frame's first prefix, 0 if it has none, and whether the frame has a valid length.
func (h frameHeader) prefix() (n int, valid bool) {
	switch h.kind {
	case frameData:
		if h.has(flagPadded) {
			n = 1
		}
	case frameHeaders:
		if h.has(flagPadded) {
			n = 1
		}
		if h.has(flagPriority) {
			n += 5
		}
	case frameSettings:
		n = min(settingBytes, h.length)
	case frameReset, frameWindowUpdate:
		return 4, h.length == 4
	case framePing:
		return 8, h.length == 8
	case frameGoAway:
		return 8, h.length >= 8
	}
	return n, h.length >= n
}

// checkStream checks that the frame names a stream if its type requires one, and names none if its type forbids that.
func (h frameHeader) checkStream() *ConnError {
	switch h.kind {
	case frameData, frameHeaders, frameContinuation, frameReset, framePriority:
		if h.stream == 0 {
			return protocolError("a frame that needs a stream has none")
		}
	case frameSettings, framePing, frameGoAway:
		if h.stream != 0 {
			return protocolError("a frame for the connection on a stream")
		}
	}
	return nil
}

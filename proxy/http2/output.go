package http2

import "encoding/binary"

// output is the frames to send, in the order in which they must be sent. It does not decide which frames are sent.
type output struct {
	frames    []byte
	caused    int  // bytes in frames that belong to acknowledgments and resets, which the peer can cause at will
	announced bool // a field block has announced that no dynamic table is used
}

// take returns the frames, and uses spare as the buffer for later ones.
func (o *output) take(spare []byte) []byte {
	frames := o.frames
	o.frames, o.caused = spare[:0], 0
	return frames
}

func (o *output) settings(settings []byte) {
	o.frames = append(appendFrameHeader(o.frames, len(settings), frameSettings, 0, 0), settings...)
}

// settingsAck acknowledges the peer's SETTINGS.
func (o *output) settingsAck() {
	o.frames = appendFrameHeader(o.frames, 0, frameSettings, flagAck, 0)
	o.caused += frameHeaderBytes
}

func (o *output) windowUpdate(stream, more uint32) {
	o.frames = appendUint32Frame(o.frames, frameWindowUpdate, stream, more)
}

// ping writes a PING with content, which must be 8 bytes long.
func (o *output) ping(content string) {
	o.frames = append(appendFrameHeader(o.frames, len(content), framePing, 0, 0), content...)
}

// pingAck acknowledges the peer's PING.
func (o *output) pingAck(content []byte) {
	o.frames = append(appendFrameHeader(o.frames, len(content), framePing, flagAck, 0), content...)
	o.caused += frameHeaderBytes + len(content)
}

func (o *output) goAway(last uint32, code Code) {
	o.frames = binary.BigEndian.AppendUint32(appendFrameHeader(o.frames, 8, frameGoAway, 0, 0), last)
	o.frames = binary.BigEndian.AppendUint32(o.frames, uint32(code))
}

// reset writes a reset that the caller of this package has requested.
func (o *output) reset(stream uint32, code Code) {
	o.frames = appendUint32Frame(o.frames, frameReset, stream, uint32(code))
}

// resetCaused writes a reset that a frame from the peer has caused.
func (o *output) resetCaused(stream uint32, code Code) {
	o.reset(stream, code)
	o.caused += frameHeaderBytes + 4
}

func (o *output) data(stream uint32, p []byte, flags uint8) {
	o.frames = append(appendFrameHeader(o.frames, len(p), frameData, flags, stream), p...)
}

// beginFields begins a field block in dst. The first block of a connection begins with the announcement that no dynamic table is used. This
// is necessary because the peer may have asked for a table smaller than the initial one (RFC 7541, section 4.2).
func (o *output) beginFields(dst []byte) []byte {
	if !o.announced {
		o.announced = true
		dst = append(dst, 0x20)
	}
	return dst
}

// fields writes a field block in as many frames as it needs.
func (o *output) fields(stream uint32, block []byte, end bool) {
	kind, flags := frameHeaders, uint8(0)
	if end {
		flags = flagEndStream
	}
	for {
		n := min(len(block), frameBytesMax)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		o.frames = append(appendFrameHeader(o.frames, n, kind, flags, stream), block[:n]...)
		if block = block[n:]; flags&flagEndHeaders != 0 {
			return
		}
		kind, flags = frameContinuation, 0
	}
}

package proxy

import (
	"bytes"
	"net"
	"strconv"
)

// relayBytes is how many bytes of a body are collected for one write as long as further pieces are already buffered.
const relayBytes = 4 << 10

// reply is a response on its way to the client: the bytes to send, and whether the connection continues after them. It keeps track of the counted
// bytes that the client cannot have received (entry.unsent): all bytes are unsent until a write has succeeded.
type reply struct {
	c  *clientConn
	ev *entry

	buf        []byte // the header, and as much of the body as is written together with it
	begun      bool   // bytes of the final response may have been written
	closeAfter bool   // no further request may follow on the connection

	vectors [3][]byte   // for pass
	bufs    net.Buffers // for writeAll
}

// begin prepares for a new response.
func (r *reply) begin() { r.begun, r.closeAfter = false, false }

// end releases a large buffer.
func (r *reply) end() {
	if cap(r.buf) > scratchBytesKept {
		r.buf = nil
	}
}

// fields returns the lines of the header in buf after the status line.
func (r *reply) fields() []byte { return r.buf[bytes.IndexByte(r.buf, '\n')+1:] }

// write sends bytes of the final response. It reports whether that succeeded.
func (r *reply) write(b []byte) bool {
	r.begun = true
	if _, err := r.c.Write(b); err != nil {
		r.closeAfter = true
		if r.ev.recorded {
			r.undelivered()
		}
		return false
	}
	return true
}

// pass adds a piece of the body to the collected bytes, or writes both to the client. If chunked is set, it sends the piece as a chunk.
func (r *reply) pass(b []byte, chunked bool) bool {
	if chunked {
		r.buf = append(strconv.AppendInt(r.buf, int64(len(b)), 16), '\r', '\n')
	}
	if len(r.buf)+len(b) <= relayBytes {
		r.buf = append(r.buf, b...)
		if chunked {
			r.buf = append(r.buf, '\r', '\n')
		}
		return true
	}
	if r.c.gaveWay.Load() {
		return false
	}
	r.begun = true
	r.bufs = append(r.vectors[:0], r.buf, b)
	if chunked {
		r.bufs = append(r.bufs, crlf)
	}
	ok := r.c.writeAll(&r.bufs)
	clear(r.vectors[:])
	r.buf = r.buf[:0]
	if ok {
		r.ev.unsent = 0
	}
	return ok
}

var crlf = []byte("\r\n")

// flush writes the collected bytes.
func (r *reply) flush() bool {
	if len(r.buf) == 0 {
		return true
	}
	ok := r.write(r.buf)
	r.buf = r.buf[:0]
	if ok {
		r.ev.unsent = 0
	}
	return ok
}

// appendHSTS appends Strict-Transport-Security to the header, unless the header has that field.
func (r *reply) appendHSTS() {
	if line := r.c.gen.hsts; len(line) > 0 && r.c.tlsVersion != 0 && !hasField(r.buf, "strict-transport-security") {
		r.buf = append(r.buf, line...)
	}
}

// undelivered counts a recorded response that the client did not receive completely. The record cannot show this, because a response is
// recorded before its last bytes are written.
func (r *reply) undelivered() { r.c.root.metrics.undelivered.Add(1) }

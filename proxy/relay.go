package proxy

import (
	"errors"
	"io"
	"net"
	"strconv"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// relayBytes is how many bytes of a body are collected for one write while further pieces are already buffered.
const relayBytes = 4 << 10

// relay passes on the body of a response piece by piece, from the upstream's read buffer. It records the response before it writes
// the bytes that end it.
func (x *exchange) relay() {
	h, s := &x.resp, &x.stream
	framing, chunked := http1.UntilClose, false
	switch {
	case h.Chunked:
		framing = http1.Chunks
	case h.Length >= 0:
		framing = http1.Fixed
	}
	s.reset(x.up.br, framing, h.Length)
	if h.EventStream && framing != http1.Fixed {
		x.ev.Kind = event.KindStream
		up := x.up
		x.c.root.streams.add(x, func() { _ = up.Conn.Close() })
		defer x.c.root.streams.remove(x)
	}
	switch {
	case framing == http1.Fixed:
	case x.head.HTTP10:
		x.closeAfter = true // the body ends with the connection
	default:
		chunked = true
		x.in = append(x.in, "Transfer-Encoding: chunked\r\n"...)
	}
	x.endHead()
	for !s.Ended() {
		b, err := s.next(upstreamReadBytes)
		if err == io.EOF {
			break
		}
		if errors.Is(err, errClientGone) {
			x.clientLeft()
			return
		}
		if err != nil {
			x.cut(err)
			return
		}
		x.ev.ResponseBytes += uint64(len(b))
		x.unsent += uint64(len(b))
		if s.Ended() && !x.complete() {
			return
		}
		if !x.pass(b, chunked) {
			x.clientLeft()
			return
		}
	}
	x.noteGRPC(s.Trailers())
	if !x.recorded && !x.complete() {
		return
	}
	if chunked {
		x.in = append(x.in, "0\r\n"...)
		x.in = append(append(x.in, s.Trailers()...), '\r', '\n')
	}
	if len(x.in) > 0 {
		x.write(x.in)
	}
	s.discardPiece()
	x.releaseUpstream(framing == http1.UntilClose)
}

var errClientGone = errors.New("client left within the response")

// flushAndArm is called before the relay waits for the upstream. It writes the collected bytes to the client.
func (x *exchange) flushAndArm() error {
	x.armBody()
	if len(x.in) == 0 {
		return nil
	}
	ok := x.write(x.in)
	x.in = x.in[:0]
	if !ok {
		return errClientGone
	}
	x.unsent = 0
	return nil
}

// pass adds a piece of the body to the collected bytes, or writes both.
func (x *exchange) pass(b []byte, chunked bool) bool {
	if chunked {
		x.in = append(strconv.AppendInt(x.in, int64(len(b)), 16), '\r', '\n')
	}
	if len(x.in)+len(b) <= relayBytes {
		x.in = append(x.in, b...)
		if chunked {
			x.in = append(x.in, '\r', '\n')
		}
		return true
	}
	if x.c.gaveWay.Load() {
		return false
	}
	x.begun = true
	x.bufs = append(x.vectors[:0], x.in, b)
	if chunked {
		x.bufs = append(x.bufs, crlf)
	}
	ok := x.c.writeAll(&x.bufs)
	clear(x.vectors[:])
	x.in = x.in[:0]
	if ok {
		x.unsent = 0
	}
	return ok
}

var crlf = []byte("\r\n")

// cut ends a response whose body is incomplete, in such a way that the client notices. Usually it closes the connection before the
// declared length or the last chunk. If the end of the connection would mark the end of the body, it resets it instead.
func (x *exchange) cut(err error) {
	if x.c.clientGone.Load() {
		x.clientLeft()
		return
	}
	kind := failTruncated
	x.cause = err
	switch {
	case x.ev.Kind == event.KindStream && x.c.gen.closing.Load():
		kind = failShutdown
	case isTimeout(err):
		kind = x.timedOut(failTimeout, noBody, x.c.gen.o.BodyTimeout)
	case errors.Is(err, http1.ErrBody):
		kind = failProtocol
	}
	x.record(kind)
	x.dropUpstream()
	if len(x.in) > 0 {
		x.write(x.in)
	}
	x.closeAfter = true
	x.c.reset = x.head.HTTP10 && x.resp.Length < 0
}

// complete records a response whose last bytes are written next. If the client has reset the connection, they cannot arrive: then it
// ends the response as one whose client has left, and returns false.
func (x *exchange) complete() bool {
	if x.c.hasReset() {
		x.c.failed.Store(true)
		x.clientLeft()
		return false
	}
	x.record(failNone)
	return true
}

// clientLeft ends a response whose client has left, or does not read it.
func (x *exchange) clientLeft() {
	if x.recorded {
		x.undelivered()
	} else {
		x.ev.Status = statusClientClosed
		x.ev.ResponseBytes -= x.unsent
		f := failClientClosed
		if x.c.timedOut.Load() && !x.c.gaveWay.Load() {
			f = failWriteTimeout
		}
		x.record(f)
	}
	x.dropUpstream()
	x.closeAfter = true
}

// writeAll writes several buffers with one system call under the write deadline. It consumes bufs.
func (c *clientConn) writeAll(bufs *net.Buffers) bool {
	c.limits.armWrite(c.gen.sweeper.after(c.gen.o.WriteTimeout))
	c.writing.begin(c.gen.sweeper.now.Load())
	var n int64
	var err error
	if w, ok := c.Conn.(interface {
		WriteBuffers(*net.Buffers) (int64, error)
	}); ok {
		n, err = w.WriteBuffers(bufs)
	} else {
		n, err = bufs.WriteTo(c.Conn)
	}
	c.writing.end(c.gen.sweeper.now.Load(), int(n))
	if err != nil {
		c.writeFailed(err)
		return false
	}
	return true
}

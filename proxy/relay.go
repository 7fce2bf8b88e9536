package proxy

import (
	"errors"
	"io"
	"net"
	"strconv"

	"github.com/wayside-proxy/wayside/internal/event"
)

// relayBytes is the size up to which pieces of a body are collected in one write, as long as the next is there already.
const relayBytes = 4 << 10

// relay passes the body of a response on as it comes, piece by piece from the upstream's read buffer. It records the
// response before it hands on what ends it.
func (x *exchange) relay() {
	h, s := &x.resp, &x.stream
	framing, chunked := bodyUntilClose, false
	switch {
	case h.chunked:
		framing = bodyChunked
	case h.length >= 0:
		framing = bodyFixed
	}
	s.reset(x.up.br, framing, h.length)
	if h.eventFeed && framing != bodyFixed {
		x.ev.Kind = event.KindStream
		up := x.up
		x.c.root.streams.add(x, func() { _ = up.Conn.Close() })
		defer x.c.root.streams.remove(x)
	}
	switch {
	case framing == bodyFixed:
	case x.head.http10:
		x.closeAfter = true // the body ends with the connection
	default:
		chunked = true
		x.in = append(x.in, "Transfer-Encoding: chunked\r\n"...)
	}
	x.endHead()
	for !s.ended {
		b, err := s.next(responseHeaderBytesMax)
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
		if s.ended {
			x.record(failNone)
		}
		if !x.pass(b, chunked) {
			x.clientLeft()
			return
		}
	}
	x.record(failNone)
	if chunked {
		x.in = append(x.in, "0\r\n"...)
		x.in = append(append(x.in, s.trailers...), '\r', '\n')
	}
	if len(x.in) > 0 {
		x.write(x.in)
	}
	s.drop()
	x.releaseUpstream(framing == bodyUntilClose)
}

var errClientGone = errors.New("client left within the response")

// flushAndArm is called before the relay waits for the upstream: the client gets what there is.
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
	return nil
}

// pass collects a piece of the body, or writes it behind what has been collected.
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
	bufs := append(x.c.bufs[:0], x.in, b)
	if chunked {
		bufs = append(bufs, crlf)
	}
	ok := x.c.writeAll(bufs)
	x.in = x.in[:0]
	return ok
}

var crlf = []byte("\r\n")

// cut ends a response whose body breaks off, so that the client can tell: by closing the connection within the declared length
// or without the last chunk, and by a reset where only the end of the connection would mark the end of the body.
func (x *exchange) cut(err error) {
	if x.c.gone.Load() {
		x.clientLeft()
		return
	}
	kind := failTruncated
	x.cause = err
	switch {
	case x.ev.Kind == event.KindStream && x.c.p.closing.Load():
		kind = failShutdown
	case isTimeout(err):
		kind = x.timedOut(failTimeout, noBody, x.c.p.o.BodyTimeout)
	case errors.Is(err, errBody):
		kind = failProtocol
	}
	x.record(kind)
	x.dropUpstream()
	if len(x.in) > 0 {
		x.write(x.in)
	}
	x.closeAfter = true
	x.c.reset = x.head.http10 && x.resp.length < 0
}

// clientLeft ends a response that nobody takes any more.
func (x *exchange) clientLeft() {
	if !x.recorded {
		x.ev.Status = statusClientClosed
		x.record(failClientClosed)
	}
	x.dropUpstream()
	x.closeAfter = true
}

// writeAll writes several buffers with one system call under the write deadline. It consumes bufs.
func (c *clientConn) writeAll(bufs net.Buffers) bool {
	c.limits.armWrite(c.p.sweeper.after(c.p.o.WriteTimeout))
	c.sending = bufs
	c.writing.begin(c.p.sweeper.now.Load())
	n, err := c.sending.WriteTo(c.Conn)
	c.writing.end(c.p.sweeper.now.Load(), int(n))
	clear(c.bufs[:])
	if err != nil {
		c.writeFailed(err)
		return false
	}
	return true
}

package proxy

import (
	"errors"
	"io"
	"net"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// relay passes on the body of a response piece by piece, from the upstream's read buffer. It records the response before it writes the
// response's last bytes.
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
		x.limit.lift()
		up := x.up
		x.c.root.streams.add(x, func() { _ = up.Conn.Close() })
		defer x.c.root.streams.remove(x)
	}
	switch {
	case framing == http1.Fixed:
	case x.req.HTTP10:
		x.reply.closeAfter = true // only the end of the connection marks the end of the body
	default:
		chunked = true
		x.reply.buf = append(x.reply.buf, "Transfer-Encoding: chunked\r\n"...)
	}
	x.endHead()
	if !x.relayBody(chunked) {
		return
	}
	x.ev.noteGRPC(s.Trailers())
	if !x.ev.recorded && !x.complete() {
		return
	}
	if chunked {
		x.reply.buf = append(x.reply.buf, "0\r\n"...)
		x.reply.buf = append(append(x.reply.buf, s.Trailers()...), '\r', '\n')
	}
	if len(x.reply.buf) > 0 {
		x.reply.write(x.reply.buf)
	}
	s.discardPiece()
	x.releaseUpstream(framing == http1.UntilClose)
}

// relayBody passes on the data of the body. It returns false if the response has ended early.
func (x *exchange) relayBody(chunked bool) bool {
	s := &x.stream
	for !s.Ended() {
		b, err := s.next(upstreamReadBytes)
		switch {
		case err == io.EOF:
			return true
		case errors.Is(err, errClientGone):
			x.clientLeft()
			return false
		case err != nil:
			x.cut(err)
			return false
		}
		x.ev.ResponseBytes += uint64(len(b))
		x.ev.unsent += uint64(len(b))
		if s.Ended() && !x.complete() {
			return false
		}
		if !x.reply.pass(b, chunked) {
			x.clientLeft()
			return false
		}
	}
	return true
}

var errClientGone = errors.New("client left before the end of the response")

// flushAndArm is called before relay waits for the upstream. It writes the collected bytes and arms the deadline for the wait.
func (x *exchange) flushAndArm() error {
	x.armBody()
	if !x.reply.flush() {
		return errClientGone
	}
	return nil
}

// cut ends a response whose body is incomplete, and makes sure that the client notices. Usually it closes the connection before the
// declared length or the last chunk. If the end of the connection would mark the end of the body, it resets the connection instead.
func (x *exchange) cut(err error) {
	if x.c.watch.gone.Load() {
		x.clientLeft()
		return
	}
	kind := failTruncated
	x.to.cause = err
	switch {
	case x.ev.Kind == event.KindStream && x.c.gen.closing.Load():
		kind = failShutdown
	case isTimeout(err):
		kind = x.limit.explain(failTimeout, &x.to.cause, noBody, bodyTimeoutKey, x.c.gen.o.BodyTimeout)
	case errors.Is(err, http1.ErrBody):
		kind = failProtocol
	}
	x.record(kind)
	x.dropUpstream()
	if len(x.reply.buf) > 0 {
		x.reply.write(x.reply.buf)
	}
	x.reply.closeAfter = true
	x.c.reset = x.req.HTTP10 && x.resp.Length < 0
}

// complete records a response whose last bytes will be written next. If the client has reset the connection, these bytes cannot arrive:
// complete then calls clientLeft and returns false.
func (x *exchange) complete() bool {
	if x.c.watch.hasReset() {
		x.c.failed.Store(true)
		x.clientLeft()
		return false
	}
	x.record(failNone)
	return true
}

// clientLeft ends a response whose client has disconnected or stopped reading.
func (x *exchange) clientLeft() {
	if x.ev.recorded {
		x.reply.undelivered()
	} else {
		x.ev.Status = statusClientClosed
		x.ev.ResponseBytes -= x.ev.unsent
		f := failClientClosed
		if x.c.timedOut.Load() && !x.c.gaveWay.Load() {
			f = failWriteTimeout
		}
		x.record(f)
	}
	x.dropUpstream()
	x.reply.closeAfter = true
}

// writeAll writes several buffers with one system call, within the write deadline. It consumes bufs.
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

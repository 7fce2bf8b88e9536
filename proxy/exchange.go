package proxy

import (
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// exchange is one request and its response. It is reused for other requests, so that a request allocates nothing. The exchange and its
// parts belong to the goroutine or task that serves the connection. The exception is upload: if a body is streamed, the goroutine or task
// that sends the body also uses it.
//
// Each part has its own state and rules, and refers only to the parts that its type names. The parts are the request (req), its body on
// the way to the server (upload), the server to which the request is given (to), the header of the response (resp), the response on its
// way to the client (reply), the event for the books (ev), the times (at) and the time limit (limit). The exchange itself determines the
// order in which the parts act.
type exchange struct {
	c  *clientConn
	up *upstreamConn // nil, or owned by this exchange

	req    request
	upload upload
	to     assignment
	resp   responseHead
	reply  reply
	ev     entry
	at     times
	limit  timeLimit

	stream     bodyReader // reads the response's body
	out        []byte     // the request as it is sent: header, and a small body
	upgrading  bool       // the upstream is asked to switch protocols, on a dedicated connection
	quickAcked bool       // quickAck has been called for this response
}

// exchanges contains unused exchanges.
var exchanges = sync.Pool{New: func() any { return newExchange() }}

func newExchange() *exchange {
	x := &exchange{}
	x.stream.arm = x.flushAndArm
	x.reply.ev = &x.ev
	x.upload.req, x.upload.ev, x.upload.at, x.upload.limit = &x.req, &x.ev, &x.at, &x.limit
	return x
}

// attach assigns the exchange to a connection. If c is nil, it ends the assignment.
func (x *exchange) attach(c *clientConn) {
	x.c, x.req.c, x.resp.c, x.reply.c = c, c, c, c
}

// begin prepares the exchange for a new request.
func (x *exchange) begin() {
	x.req.begin()
	x.upload.begin()
	x.to = assignment{}
	x.resp.large = nil
	x.reply.begin()
	x.ev = entry{}
	x.at, x.limit = times{}, timeLimit{}
	x.upgrading, x.quickAcked = false, false
}

// handle serves the request whose header is in x.req.Raw. A panic ends only this request, with 500.
func (x *exchange) handle() {
	x.c.gen.metrics.inFlight.Add(1)
	defer x.finish()
	x.serve()
}

func (x *exchange) finish() {
	c := x.c
	if r := recover(); r != nil {
		c.gen.o.Logger.Error("panic while handling a request; ending only this request", "value", r, "stack", string(debug.Stack()))
		x.reply.closeAfter = true
		_ = x.upload.stop()
		x.dropUpstream()
		if x.reply.begun {
			x.record(failPanic)
			c.reset = true
		} else {
			x.answer(failPanic)
		}
	}
	x.upload.endSilence()
	x.to.leave()
	c.gen.metrics.inFlight.Add(-1)
	if cap(x.out) > scratchBytesKept {
		x.out = nil
	}
	x.reply.end()
	x.req.end()
	c.share.release()
}

// appendRequestHead checks the request in x.req.Raw and appends its header to dst, as it is sent upstream.
func (x *exchange) appendRequestHead(dst []byte) ([]byte, error) {
	h := &x.req.Request
	dst, err := h.Rewrite(dst, &x.c.peer, &x.c.gen.standard.requests)
	if err != nil {
		return dst, err
	}
	if x.c.gen.routing != nil {
		if err := x.req.chooseRoute(dst); err != nil {
			return dst, err
		}
		dst = x.req.stripPrefix(dst)
	}
	// A client that has begun to send its body is not waiting for 100 Continue.
	x.upload.awaitingContinue = h.Expect && h.HasBody() && x.c.br.Buffered() == 0
	x.upgrading = h.Upgradable()
	own := http1.Own{RequestID: x.req.id(), Continue: x.upload.awaitingContinue, Upgrade: x.upgrading, WebSocketKey: x.req.webSocketKey()}
	return h.Finish(dst, &x.c.peer, &x.req.route.requests, own), nil
}

// serve forwards the request and passes on the response, or generates a response itself.
func (x *exchange) serve() {
	var err error
	x.out, err = x.appendRequestHead(x.out[:0])
	x.ev.describe(&x.req)
	if err != nil {
		x.refuse(headFailure(err))
		return
	}
	if x.c.kind == listenerRedirect {
		x.redirectToTLS()
		return
	}
	if x.c.gen.routing == nil {
		x.to.group = x.c.gen.group
	} else if x.admitToRoute() {
		return
	}
	streamed := false
	if x.req.HasBody() {
		var f failure
		if x.out, streamed, f = x.upload.prepare(x.out, x.to.group); f != failNone {
			x.answer(f)
			return
		}
	}
	if n, ok := x.req.HopsLeft(); ok && n == 0 {
		x.answerMaxForwards()
		return
	}
	x.at.asked = x.askedAt()
	x.limit.begin(x.c.gen.sweeper, x.c.gen.o.TotalTimeout)
	if f := x.forward(streamed); f != failNone {
		if x.c.watch.gone.Load() {
			x.clientLeft()
		} else {
			x.answer(f)
		}
		return
	}
	x.respond()
}

// askedAt returns the current time, to within a few microseconds. It reads the clock only if a body has been read or a password checked since
// the ID was generated: nothing else in between takes longer.
func (x *exchange) askedAt() time.Time {
	if at := x.req.idAt; !at.IsZero() && !x.req.HasBody() && x.req.route.users == nil {
		return at
	}
	return time.Now()
}

// refuse responds to a request that could not be parsed. The end of such a request is unknown, so the connection cannot be reused.
func (x *exchange) refuse(f failure) {
	x.upload.unread = true
	x.answer(f)
}

// respond passes on the response whose header has been read.
func (x *exchange) respond() {
	h := &x.resp
	x.ev.Status = uint16(h.Status)
	x.ev.noteGRPC(x.reply.fields())
	x.upload.await()
	switch {
	case h.Status == 101:
		x.tunnel()
	case x.req.Is("HEAD") || h.Status == 204 || h.Status == 304:
		x.respondBodiless()
	case !h.Chunked && h.Length >= 0 && h.Length <= bufferedBodyBytesMax && (h.Length <= scratchBytesKept/2 || x.c.share.hold(h.Length)):
		x.respondBuffered(int(h.Length))
	default:
		x.relay()
	}
	_ = x.upload.stop()
	x.reply.closeAfter = x.reply.closeAfter || x.upload.unread
}

func (x *exchange) respondBodiless() {
	if x.resp.Chunked && x.req.Is("HEAD") && !x.req.HTTP10 {
		x.reply.buf = append(x.reply.buf, "Transfer-Encoding: chunked\r\n"...)
	}
	x.at.end = x.at.head
	x.releaseUpstream(false)
	x.endHead()
	if x.complete() {
		x.reply.write(x.reply.buf)
	}
}

// respondBuffered reads the whole body, then records the response and writes it.
func (x *exchange) respondBuffered(n int) {
	x.at.end = x.at.head
	if n > x.up.br.Buffered() {
		x.at.end = time.Time{}
	}
	x.endHead()
	at, need := len(x.reply.buf), len(x.reply.buf)+n
	buf := x.reply.buf
	switch {
	case need > scratchBytesKept:
		loan := bodyBuffers.Get().(*[]byte)
		defer bodyBuffers.Put(loan)
		buf = append((*loan)[:0], x.reply.buf...)
		buf = slices.Grow(buf, n)
	case need > cap(x.reply.buf):
		x.reply.buf = append(make([]byte, 0, max(need, 1024)), x.reply.buf...)
		buf = x.reply.buf
	}
	buf = buf[:need]
	if x.up.br.Buffered() < n {
		x.armBody()
	}
	if _, err := io.ReadFull(x.up.br, buf[at:]); err != nil {
		x.to.cause = err
		x.dropUpstream()
		switch {
		case x.c.watch.gone.Load():
			x.clientLeft()
		case isTimeout(err):
			x.answer(x.limit.explain(failTimeout, &x.to.cause, noBody, bodyTimeoutKey, x.c.gen.o.BodyTimeout))
		default:
			x.answer(failTruncated)
		}
		return
	}
	x.releaseUpstream(false)
	x.ev.ResponseBytes, x.ev.unsent = uint64(n), uint64(n)
	if x.complete() {
		x.reply.write(buf)
	}
}

// endHead completes the response's header in x.reply.buf: Server-Timing, Connection, and the empty line.
func (x *exchange) endHead() {
	if x.c.gen.o.ServerTiming && !x.at.head.IsZero() {
		x.reply.buf = append(x.reply.buf, "Server-Timing: upstream;dur="...)
		x.reply.buf = strconv.AppendFloat(x.reply.buf, float64(x.at.head.Sub(x.at.sent).Microseconds())/1000, 'f', 3, 64)
		x.reply.buf = append(x.reply.buf, '\r', '\n')
	}
	x.reply.appendHSTS()
	if !x.req.Persistent() || x.upload.unread || x.c.gen.closing.Load() {
		x.reply.closeAfter = true
	}
	switch {
	case x.reply.closeAfter:
		x.reply.buf = append(x.reply.buf, "Connection: close\r\n"...)
	case x.req.HTTP10:
		x.reply.buf = append(x.reply.buf, "Connection: keep-alive\r\n"...)
	}
	x.reply.buf = append(x.reply.buf, '\r', '\n')
}

// armBody arms the deadline for the next read from the response's body.
func (x *exchange) armBody() {
	if !x.quickAcked {
		x.quickAcked = true
		x.up.quickAck()
	}
	x.up.limits.armRead(x.limit.after(x.c.gen.o.BodyTimeout))
}

package proxy

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// exchange is the state of one request and its response. It is part of the client connection and used again for the
// connection's next request, so that a request allocates nothing. Only the goroutine that serves the connection touches it,
// and while a request's body is streamed the one that sends it (upload.go).
type exchange struct {
	c  *clientConn
	up *upstreamConn // nil, or owned by this exchange

	head   requestHead
	body   bodyReader // of the request
	upload upload
	resp   responseHead
	stream bodyReader // of the response
	ev     event.Event

	sentAt  time.Time // just before the upstream is asked for
	totalBy int64     // sweeper time at which the exchange is given up; 0: never
	headAt  time.Time // the response's header has been read
	endAt   time.Time // the last byte; zero: the moment of recording

	cause error // why the upstream failed, for the log; may be nil

	recorded   bool
	begun      bool // bytes of the final response may have been written to the client
	upgrading  bool // the upstream is asked to switch protocols, on a connection of its own
	asking     bool // the upstream is to be asked before the body is sent (Expect: 100-continue), and has not answered
	continued  bool // the client has been told to send its body, by the proxy
	unread     bool // bytes of the request's body may be left on the client's connection
	closeAfter bool // no further request may follow on the client's connection
	upBroken   bool // the upstream connection cannot be used again
	hurried    bool // the upstream's header has been acknowledged, because its body did not come with it

	out    []byte // request as sent: header, and a small body
	in     []byte // response as sent: header, and a small body or what is to be written together
	host   []byte // lower-cased Host
	idText []byte // generated request id
}

// begin prepares for a request.
func (x *exchange) begin() {
	x.head.reset()
	x.ev = event.Event{}
	x.sentAt, x.headAt, x.endAt = time.Time{}, time.Time{}, time.Time{}
	x.recorded, x.begun, x.asking, x.continued, x.upgrading = false, false, false, false, false
	x.unread, x.closeAfter, x.upBroken, x.hurried = false, false, false, false
	x.upload.done, x.totalBy, x.cause = nil, 0, nil
	x.idText = x.idText[:0]
}

// id is the request's id: the client's, if valid, or a new one.
func (x *exchange) id() []byte {
	if len(x.head.requestID) > 0 {
		return x.head.requestID
	}
	if len(x.idText) == 0 {
		now := x.sentAt
		if now.IsZero() {
			now = time.Now()
		}
		x.idText = appendUUIDv7(x.idText, now)
	}
	return x.idText
}

// handle serves the request whose header is in x.head.raw. After a panic the request, and only that, is answered with 500.
func (x *exchange) handle() {
	x.c.p.metrics.inFlight.Add(1)
	defer x.finish()
	x.serve()
}

func (x *exchange) finish() {
	c := x.c
	if r := recover(); r != nil {
		c.p.o.Logger.Error("panic", "where", "handler", "value", r, "stack", string(debug.Stack()))
		x.closeAfter = true
		_ = x.stopUpload()
		x.dropUpstream()
		if x.begun {
			x.record(failPanic)
			c.reset = true
		} else {
			x.answer(failPanic)
		}
	}
	c.p.metrics.inFlight.Add(-1)
	if cap(x.out) > scratchBytesKept {
		x.out = nil
	}
	if cap(x.in) > scratchBytesKept {
		x.in = nil
	}
	x.head.release()
	c.letGo()
}

// serve forwards the request and takes over the response, or answers itself.
func (x *exchange) serve() {
	var err error
	x.out, err = x.appendRequestHead(x.out[:0])
	x.describe()
	if err != nil {
		x.refuse(headFailure(err))
		return
	}
	streamed := false
	if h := &x.head; h.hasBody() {
		x.unread = true
		if limit := x.c.p.o.MaxRequestBodyBytes; limit > 0 && h.length > limit {
			x.answer(failBodyTooLarge)
			return
		}
		framing := bodyFixed
		if h.chunked {
			framing = bodyChunked
		}
		x.body.reset(x.c.br, framing, h.length)
		x.c.pace = pace{}
		if streamed, err = x.bufferBody(); err != nil {
			f := failMemory
			if err != errMemory {
				f = x.c.bodyFailure()
			}
			x.answer(f)
			return
		}
	}
	if n, ok := x.head.hopsLeft(); ok && n == 0 {
		x.answerHere()
		return
	}
	x.sentAt = time.Now()
	x.totalBy = x.c.p.sweeper.after(x.c.p.o.TotalTimeout)
	if f := x.forward(streamed); f != failNone {
		if x.c.gone.Load() {
			x.clientLeft()
		} else {
			x.answer(f)
		}
		return
	}
	x.respond()
}

// refuse answers a request that was not understood: where it ends is not known either.
func (x *exchange) refuse(f failure) {
	x.unread = true
	x.answer(f)
}

// bufferBody appends a body of small declared length to the header, so that a slow client does not hold an upstream
// connection; the buffer grows with what arrives, not with what was declared. Of other bodies it waits for the first byte,
// unless the client waits for the upstream. It reports whether the body is still to be streamed.
func (x *exchange) bufferBody() (streamed bool, err error) {
	if x.asking {
		return true, nil
	}
	if x.head.chunked || x.head.length > bufferedBodyBytesMax {
		_, err := x.c.br.Peek(1)
		return true, err
	}
	at := len(x.out)
	for !x.body.ended {
		have := len(x.out)
		x.out = slices.Grow(x.out, int(min(x.body.left, int64(max(have-at, 4096)))))
		if size := cap(x.out) + cap(x.head.raw); size > scratchBytesKept && !x.c.holdUpTo(size) {
			return false, errMemory
		}
		n, err := x.body.Read(x.out[have:cap(x.out)])
		if err != nil {
			return false, err
		}
		x.out = x.out[:have+n]
	}
	x.unread = false
	x.ev.RequestBytes = uint64(x.head.length)
	return false, nil
}

// forward sends the request and reads the response's header. Afterwards x.up holds the connection with the response's
// body, or a failure is returned and the connection is gone.
func (x *exchange) forward(streamed bool) failure {
	p := x.c.p
	if x.upgrading && p.o.MaxConns > 0 && x.c.root.streams.count() >= p.o.MaxConns/tunnelShare {
		x.c.warn(failConns)
		return failConns
	}
	x.ev.Upstream = p.upstreamName
	u, err := x.connect()
	if err != nil {
		f := connectFailure(err)
		x.cause = err
		if f == failPool {
			x.c.warn(f)
		}
		return f
	}
	x.up = u
	x.c.await(u)
	err = x.roundTrip(u, streamed)
	if err != nil && u.reused && x.replayable() && x.c.claim() && errors.Is(err, errNoResponse) && !isTimeout(err) {
		// A kept connection that the upstream closed in the meantime: nothing of this request was answered.
		p.metrics.retries.Add(1)
		x.up = nil
		if u, err = p.pool.redial(u); err != nil {
			x.cause = err
			return connectFailure(err)
		}
		x.up = u
		x.c.await(u)
		err = x.roundTrip(u, streamed)
	}
	if err != nil {
		if cause := x.stopUpload(); cause != nil {
			err = cause
		}
		x.dropUpstream()
		x.cause = err
		if errors.Is(err, errClientBody) {
			return x.c.bodyFailure()
		}
		return x.timedOut(exchangeFailure(err), "no response header within proxy.response_timeout", p.o.ResponseTimeout)
	}
	x.headAt = time.Now()
	return failNone
}

// replayable reports whether the request may be sent twice: idempotent, and without a body.
func (x *exchange) replayable() bool {
	h := &x.head
	return !h.hasBody() && (h.is("GET") || h.is("HEAD") || h.is("OPTIONS") || h.is("TRACE"))
}

func (x *exchange) roundTrip(u *upstreamConn, streamed bool) error {
	u.limits.armWrite(x.by(x.c.p.o.ResponseTimeout))
	_, err := u.Conn.Write(x.out)
	if err == nil {
		if streamed && !x.asking {
			x.startUpload(u)
		}
		return x.readHead(u)
	}
	if isTimeout(err) {
		return err
	}
	// The upstream does not take the rest of the request. It may have answered without waiting for it.
	x.upBroken = true
	headErr := x.readHead(u)
	if errors.Is(headErr, errNoResponse) {
		return fmt.Errorf("%w: %w", errNoResponse, err)
	}
	return headErr
}

// respond takes over the response whose header has been read.
func (x *exchange) respond() {
	h := &x.resp
	x.ev.Status = uint16(h.status)
	x.settleUpload()
	switch {
	case h.status == 101:
		x.tunnel()
	case x.head.is("HEAD") || h.status == 204 || h.status == 304:
		x.respondBodiless()
	case !h.chunked && h.length >= 0 && h.length <= bufferedBodyBytesMax && (h.length <= scratchBytesKept/2 || x.c.hold(h.length)):
		x.respondBuffered(int(h.length))
	default:
		x.relay()
	}
	_ = x.stopUpload()
	x.closeAfter = x.closeAfter || x.unread
}

func (x *exchange) respondBodiless() {
	if x.resp.chunked && x.head.is("HEAD") && !x.head.http10 {
		x.in = append(x.in, "Transfer-Encoding: chunked\r\n"...)
	}
	x.endAt = x.headAt
	x.releaseUpstream(false)
	x.endHead()
	x.record(failNone)
	x.write(x.in)
}

// respondBuffered reads the body whole and records the response.
func (x *exchange) respondBuffered(n int) {
	x.endAt = x.headAt
	if n > x.up.br.Buffered() {
		x.endAt = time.Time{}
	}
	x.endHead()
	at, need := len(x.in), len(x.in)+n
	buf := x.in
	switch {
	case need > scratchBytesKept:
		loan := bodyBuffers.Get().(*[]byte)
		defer bodyBuffers.Put(loan)
		buf = append((*loan)[:0], x.in...)
		buf = slices.Grow(buf, n)
	case need > cap(x.in):
		x.in = append(make([]byte, 0, max(need, 1024)), x.in...)
		buf = x.in
	}
	buf = buf[:need]
	if x.up.br.Buffered() < n {
		x.armBody()
	}
	if _, err := io.ReadFull(x.up.br, buf[at:]); err != nil {
		x.cause = err
		x.dropUpstream()
		switch {
		case x.c.gone.Load():
			x.clientLeft()
		case isTimeout(err):
			x.answer(x.timedOut(failTimeout, noBody, x.c.p.o.BodyTimeout))
		default:
			x.answer(failTruncated)
		}
		return
	}
	x.releaseUpstream(false)
	x.ev.ResponseBytes = uint64(n)
	x.record(failNone)
	x.write(buf)
}

// endHead completes the response's header in x.in with what concerns the client's connection.
func (x *exchange) endHead() {
	if x.c.p.o.ServerTiming && !x.headAt.IsZero() {
		x.in = append(x.in, "Server-Timing: upstream;dur="...)
		x.in = strconv.AppendFloat(x.in, float64(x.headAt.Sub(x.sentAt).Microseconds())/1000, 'f', 3, 64)
		x.in = append(x.in, '\r', '\n')
	}
	if !x.head.persistent() || x.unread || x.c.p.closing.Load() {
		x.closeAfter = true
	}
	switch {
	case x.closeAfter:
		x.in = append(x.in, "Connection: close\r\n"...)
	case x.head.http10:
		x.in = append(x.in, "Connection: keep-alive\r\n"...)
	}
	x.in = append(x.in, '\r', '\n')
}

// write hands bytes of the final response to the client.
func (x *exchange) write(b []byte) bool {
	x.begun = true
	if _, err := x.c.Write(b); err != nil {
		x.closeAfter = true
		return false
	}
	return true
}

// armBody sets the deadline for the next read of the response's body.
func (x *exchange) armBody() {
	if !x.hurried {
		x.hurried = true
		x.up.hurry()
	}
	x.up.limits.armRead(x.by(x.c.p.o.BodyTimeout))
}

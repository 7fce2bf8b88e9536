package proxy

import (
	"bytes"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/route"
)

// exchange is the state of one request and its response. It is reused for other requests, so that a request allocates nothing. It
// belongs to the goroutine or task that serves the connection. While a request's body is streamed, the one that sends it uses it
// too (upload.go).
type exchange struct {
	c  *clientConn
	up *upstreamConn // nil, or owned by this exchange

	route    *routeSettings          // of the request; generation.standard: it has none
	group    *group                  // that serves the request
	server   *server                 // of the group; nil: none has been chosen
	tried    [RetriesMax + 1]*server // servers to which the request was given, the first tries of them
	tries    int
	attempts uint8   // how often the request was sent, or a connection for it could not be made
	counted  *server // the server that counts the request as in flight; nil: none
	cookie   []byte  // the field of the response that keeps the client at the server; nil: none

	head   http1.Request
	body   bodyReader // of the request
	upload upload
	resp   http1.Response
	stream bodyReader // of the response
	ev     event.Event

	firstAt       time.Time // when the request's first byte came; zero: all of it came at once
	askedAt       time.Time // just before a connection to the upstream was requested; zero: none was
	sentAt        time.Time // when the upstream had the request, see times.go; zero: never
	totalDeadline int64     // sweeper time at which the exchange is ended; 0: never
	headAt        time.Time // when the response's header was read
	endAt         time.Time // when the last byte was read; zero: when the response is recorded

	cause error // why the upstream failed, for the log; may be nil

	recorded         bool
	begun            bool // bytes of the final response may have been written to the client
	upgrading        bool // the upstream is asked to switch protocols, on a connection of its own
	awaitingContinue bool // the client waits for 100 Continue, and the upstream has not answered
	continued        bool // the proxy itself has sent 100 Continue to the client
	unread           bool // bytes of the request's body may be left on the client's connection
	closeAfter       bool // no further request may follow on the client's connection
	upBroken         bool // the upstream connection cannot be used again
	quickAcked       bool // quickAck was called for this response

	matching   route.Scratch
	unsent     uint64 // bytes of the response's body that are counted and were not written to the client
	large      []byte // the beginning of a response's header that does not fit the upstream's reader
	out        []byte // the request as sent: header, and a small body
	in         []byte // the response as sent: header, and as much of the body as is written with it
	host       []byte // lower-cased Host
	clientText []byte // the address of a client behind a trusted peer
	idText     []byte // the generated request id

	vectors [3][]byte   // for writeAll
	bufs    net.Buffers // likewise
}

// exchanges holds exchanges without a connection.
var exchanges = sync.Pool{New: func() any { return newExchange() }}

func newExchange() *exchange {
	x := &exchange{}
	x.stream.arm = x.flushAndArm
	return x
}

// begin prepares for a request.
func (x *exchange) begin() {
	x.head.Reset()
	x.ev = event.Event{}
	x.route, x.group, x.server, x.tries, x.attempts, x.cookie = x.c.gen.standard, nil, nil, 0, 0, nil
	x.firstAt, x.askedAt, x.sentAt, x.headAt, x.endAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	x.recorded, x.begun, x.awaitingContinue, x.continued, x.upgrading = false, false, false, false, false
	x.unread, x.closeAfter, x.upBroken, x.quickAcked = false, false, false, false
	x.upload.ended, x.totalDeadline, x.cause = nil, 0, nil
	x.unsent, x.large = 0, nil
	x.idText = x.idText[:0]
}

// id returns the request's id: that of a trusted peer if it sent a valid one, or a new one.
func (x *exchange) id() []byte {
	if len(x.head.RequestID) > 0 {
		return x.head.RequestID
	}
	if len(x.idText) == 0 {
		now := x.askedAt
		if now.IsZero() {
			now = time.Now()
		}
		x.idText = appendUUIDv7(x.idText, now)
	}
	return x.idText
}

// handle serves the request whose header is in x.head.Raw. A panic costs this request only: it is answered with 500.
func (x *exchange) handle() {
	x.c.gen.metrics.inFlight.Add(1)
	defer x.finish()
	x.serve()
}

func (x *exchange) finish() {
	c := x.c
	if r := recover(); r != nil {
		c.gen.o.Logger.Error("panic while handling a request; ending only this request", "value", r, "stack", string(debug.Stack()))
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
	x.leave()
	c.gen.metrics.inFlight.Add(-1)
	if cap(x.out) > scratchBytesKept {
		x.out = nil
	}
	if cap(x.in) > scratchBytesKept {
		x.in = nil
	}
	x.matching.Release()
	release(&x.head)
	c.releaseHeld()
}

// appendRequestHead checks the request in x.head.Raw and appends its header, as it goes upstream, to dst.
func (x *exchange) appendRequestHead(dst []byte) ([]byte, error) {
	h := &x.head
	dst, err := h.Rewrite(dst, &x.c.peer, &x.c.gen.standard.requests)
	if err != nil {
		return dst, err
	}
	if x.c.gen.routing != nil {
		if err := x.chooseRoute(dst); err != nil {
			return dst, err
		}
		dst = x.stripPrefix(dst)
	}
	// A client that has begun to send its body does not wait for 100 Continue.
	x.awaitingContinue = h.Expect && h.HasBody() && x.c.br.Buffered() == 0
	x.upgrading = h.Upgradable()
	return h.Finish(dst, &x.c.peer, &x.route.requests, http1.Own{RequestID: x.id(), Continue: x.awaitingContinue, Upgrade: x.upgrading}), nil
}

// serve forwards the request and passes the response on, or answers itself.
func (x *exchange) serve() {
	var err error
	x.out, err = x.appendRequestHead(x.out[:0])
	x.describe()
	if err != nil {
		x.refuse(headFailure(err))
		return
	}
	if x.c.kind == listenerRedirect {
		x.redirectToTLS()
		return
	}
	if x.c.gen.routing == nil {
		x.group = x.c.gen.group
	} else if x.admitToRoute() {
		return
	}
	streamed := false
	if h := &x.head; h.HasBody() {
		x.unread = true
		if limit := x.route.maxBody; limit > 0 && h.Length > limit {
			x.answer(failBodyTooLarge)
			return
		}
		framing := http1.Fixed
		if h.Chunked {
			framing = http1.Chunks
		}
		x.body.reset(x.c.br, framing, h.Length)
		if h.Chunked || h.Length > int64(x.c.br.Buffered()) {
			x.beginRequest()
		}
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
	if n, ok := x.head.HopsLeft(); ok && n == 0 {
		x.answerMaxForwards()
		return
	}
	x.askedAt = time.Now()
	x.totalDeadline = x.c.gen.sweeper.after(x.c.gen.o.TotalTimeout)
	if f := x.forward(streamed); f != failNone {
		if x.c.clientGone.Load() {
			x.clientLeft()
		} else {
			x.answer(f)
		}
		return
	}
	x.respond()
}

// refuse answers a request that was not understood. Its end is unknown, so the connection cannot be used again.
func (x *exchange) refuse(f failure) {
	x.unread = true
	x.answer(f)
}

// respond passes on the response whose header has been read.
func (x *exchange) respond() {
	h := &x.resp
	x.ev.Status = uint16(h.Status)
	x.noteGRPC(x.in[bytes.IndexByte(x.in, '\n')+1:])
	x.awaitUpload()
	switch {
	case h.Status == 101:
		x.tunnel()
	case x.head.Is("HEAD") || h.Status == 204 || h.Status == 304:
		x.respondBodiless()
	case !h.Chunked && h.Length >= 0 && h.Length <= bufferedBodyBytesMax && (h.Length <= scratchBytesKept/2 || x.c.hold(h.Length)):
		x.respondBuffered(int(h.Length))
	default:
		x.relay()
	}
	_ = x.stopUpload()
	x.closeAfter = x.closeAfter || x.unread
}

func (x *exchange) respondBodiless() {
	if x.resp.Chunked && x.head.Is("HEAD") && !x.head.HTTP10 {
		x.in = append(x.in, "Transfer-Encoding: chunked\r\n"...)
	}
	x.endAt = x.headAt
	x.releaseUpstream(false)
	x.endHead()
	if x.complete() {
		x.write(x.in)
	}
}

// respondBuffered reads the whole body, records the response and writes it.
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
		case x.c.clientGone.Load():
			x.clientLeft()
		case isTimeout(err):
			x.answer(x.timedOut(failTimeout, noBody, x.c.gen.o.BodyTimeout))
		default:
			x.answer(failTruncated)
		}
		return
	}
	x.releaseUpstream(false)
	x.ev.ResponseBytes, x.unsent = uint64(n), uint64(n)
	if x.complete() {
		x.write(buf)
	}
}

// endHead completes the response's header in x.in: Server-Timing, Connection, and the empty line.
func (x *exchange) endHead() {
	if x.c.gen.o.ServerTiming && !x.headAt.IsZero() {
		x.in = append(x.in, "Server-Timing: upstream;dur="...)
		x.in = strconv.AppendFloat(x.in, float64(x.headAt.Sub(x.sentAt).Microseconds())/1000, 'f', 3, 64)
		x.in = append(x.in, '\r', '\n')
	}
	x.appendHSTS()
	if !x.head.Persistent() || x.unread || x.c.gen.closing.Load() {
		x.closeAfter = true
	}
	switch {
	case x.closeAfter:
		x.in = append(x.in, "Connection: close\r\n"...)
	case x.head.HTTP10:
		x.in = append(x.in, "Connection: keep-alive\r\n"...)
	}
	x.in = append(x.in, '\r', '\n')
}

// write sends bytes of the final response to the client.
func (x *exchange) write(b []byte) bool {
	x.begun = true
	if _, err := x.c.Write(b); err != nil {
		x.closeAfter = true
		if x.recorded {
			x.undelivered()
		}
		return false
	}
	return true
}

// armBody arms the deadline for the next read of the response's body.
func (x *exchange) armBody() {
	if !x.quickAcked {
		x.quickAcked = true
		x.up.quickAck()
	}
	x.up.limits.armRead(x.deadline(x.c.gen.o.BodyTimeout))
}

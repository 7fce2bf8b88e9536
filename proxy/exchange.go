package proxy

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/event"
)

// exchange is the state of one request and its response. It is part of the client connection and used again for the
// connection's next request, so that a request allocates nothing. Only the goroutine that serves the connection touches it.
type exchange struct {
	c   *clientConn
	ctx *fasthttp.RequestCtx
	up  *upstreamConn // nil, or owned by this exchange

	head   requestHead
	resp   responseHead
	stream responseStream
	ev     event.Event

	sentAt time.Time // just before the upstream is asked for
	headAt time.Time // the response's header has been read
	endAt  time.Time // the last byte; zero: the moment of recording

	hasBody   bool // the request has a body that may not have been read to its end
	recorded  bool
	streaming bool // the response outlives the handler
	upBroken  bool // the upstream connection cannot be used again

	out    []byte // request as sent: header, and a small body
	in     []byte // response header block
	body   []byte // small response body
	host   []byte // lower-cased Host
	idText []byte // generated request id
}

// begin prepares for a request.
func (x *exchange) begin(ctx *fasthttp.RequestCtx) {
	x.ctx = ctx
	x.head.reset()
	x.ev = event.Event{}
	x.sentAt, x.headAt, x.endAt = time.Time{}, time.Time{}, time.Time{}
	x.hasBody, x.recorded, x.streaming, x.upBroken = false, false, false, false
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

// handle serves one request. It is fasthttp's handler.
func (p *Proxy) handle(ctx *fasthttp.RequestCtx) {
	c, ok := ctx.Conn().(*clientConn)
	if !ok {
		ctx.Error("", fasthttp.StatusInternalServerError)
		return
	}
	c.enter()
	if now := p.lane.Load(); now != c.p {
		c.drive(now)
	}
	p.metrics.inFlight.Add(1)
	x := &c.x
	x.begin(ctx)
	defer x.finish()
	x.serve()
}

// finish ends the handler: after a panic the request, and only that, is answered with 500.
func (x *exchange) finish() {
	c := x.c
	if r := recover(); r != nil {
		c.p.o.Logger.Error("panic", "where", "handler", "value", r, "stack", string(debug.Stack()))
		x.streaming, x.stream.closed = false, true // fasthttp may hold the stream already
		x.dropUpstream()
		x.answer(failPanic)
		x.ctx.SetConnectionClose()
	}
	if !x.streaming {
		c.p.metrics.inFlight.Add(-1)
	}
	if cap(x.out) > scratchBytesKept {
		x.out = nil
	}
	c.leave()
}

// serve forwards the request and takes over the response, or answers itself.
func (x *exchange) serve() {
	req := &x.ctx.Request.Header
	body := x.ctx.RequestBodyStream()
	x.hasBody = body != nil
	var err error
	x.out, err = x.appendRequestHead(x.out[:0], req)
	x.describe()
	switch {
	case err != nil:
		x.answer(failBadRequest)
		return
	case !req.IsHTTP11() && string(req.Protocol()) != "HTTP/1.0":
		x.answer(failVersion)
		return
	case req.IsConnect():
		x.answer(failNotImplemented)
		return
	case x.c.p.o.MaxRequestBodyBytes > 0 && x.head.length > x.c.p.o.MaxRequestBodyBytes:
		x.answer(failBodyTooLarge)
		return
	}
	if body != nil {
		if body, err = x.bufferBody(body); err != nil {
			x.answer(x.c.bodyFailure())
			return
		}
	}
	x.sentAt = time.Now()
	if f := x.forward(body); f != failNone {
		x.answer(f)
		return
	}
	x.respond()
}

// bufferBody appends a body of small declared length to the header, so that a slow client does not hold an upstream
// connection. What it returns is still to be streamed.
func (x *exchange) bufferBody(body io.Reader) (io.Reader, error) {
	n := x.head.length
	if n > bufferedBodyBytesMax || x.head.chunked || n < 0 {
		return body, nil
	}
	at := len(x.out)
	if need := at + int(n); cap(x.out) < need {
		x.out = append(make([]byte, 0, need), x.out...)
	}
	x.out = x.out[:at+int(n)]
	if _, err := io.ReadFull(body, x.out[at:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errClientBody, err)
	}
	x.hasBody = false
	x.ev.RequestBytes = uint64(n)
	return nil, nil
}

// forward sends the request and reads the response's header. Afterwards x.up holds the connection with the response's
// body, or a failure is returned and the connection is gone.
func (x *exchange) forward(body io.Reader) failure {
	p := x.c.p
	x.ev.Upstream = p.upstreamName
	u, err := p.pool.get()
	if err != nil {
		return connectFailure(err)
	}
	x.up = u
	err = x.roundTrip(u, body)
	if err != nil && u.reused && body == nil && x.replayable() && errors.Is(err, errNoResponse) && !isTimeout(err) {
		// A kept connection that the upstream closed in the meantime: nothing of this request was answered.
		p.metrics.retries.Add(1)
		x.up = nil
		if u, err = p.pool.redial(u); err != nil {
			return connectFailure(err)
		}
		x.up = u
		err = x.roundTrip(u, body)
	}
	if err != nil {
		x.dropUpstream()
		if errors.Is(err, errClientBody) {
			return x.c.bodyFailure()
		}
		return exchangeFailure(err)
	}
	x.headAt = time.Now()
	return failNone
}

// replayable reports whether the request may be sent twice: idempotent, and without a body.
func (x *exchange) replayable() bool {
	if x.head.length > 0 || x.head.chunked {
		return false
	}
	switch string(x.ctx.Method()) {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions, fasthttp.MethodTrace:
		return true
	}
	return false
}

func (x *exchange) roundTrip(u *upstreamConn, body io.Reader) error {
	u.limits.armWrite(x.c.p.sweeper.after(x.c.p.o.ResponseTimeout))
	_, err := u.Conn.Write(x.out)
	if err == nil && body != nil {
		err = x.sendBody(u, body)
		if errors.Is(err, errClientBody) || errors.Is(err, errBodyTooLarge) {
			return err
		}
		x.hasBody = err != nil
	}
	if err == nil {
		return x.readHead(u)
	}
	if isTimeout(err) {
		return err
	}
	// The upstream does not take the rest of the request. It may have answered without waiting for it.
	x.upBroken = true
	if headErr := x.readHead(u); headErr != nil {
		return fmt.Errorf("%w: %w", errNoResponse, err)
	}
	return nil
}

// chunkHeaderBytes is room for a chunk's size and CRLF in front of its data.
const chunkHeaderBytes = 10

// sendBody streams a request's body in the framing it came in.
func (x *exchange) sendBody(u *upstreamConn, body io.Reader) error {
	p := x.c.p
	loan := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(loan)
	buf := *loan
	limit := p.o.MaxRequestBodyBytes
	for {
		n, readErr := body.Read(buf[chunkHeaderBytes : len(buf)-2])
		x.ev.RequestBytes += uint64(n)
		if limit > 0 && x.ev.RequestBytes > uint64(limit) {
			return errBodyTooLarge
		}
		if n > 0 {
			piece := buf[chunkHeaderBytes : chunkHeaderBytes+n]
			if x.head.chunked {
				piece = frameChunk(buf, n)
			}
			u.limits.armWrite(p.sweeper.after(p.o.ResponseTimeout))
			if _, err := u.Conn.Write(piece); err != nil {
				return err
			}
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return fmt.Errorf("%w: %w", errClientBody, readErr)
		}
	}
	if x.head.chunked {
		u.limits.armWrite(p.sweeper.after(p.o.ResponseTimeout))
		_, err := u.Conn.Write([]byte("0\r\n\r\n"))
		return err
	}
	if int64(x.ev.RequestBytes) != x.head.length {
		return errClientBody
	}
	return nil
}

// frameChunk puts the chunk header right before the n bytes of data that start at chunkHeaderBytes, and CRLF behind them.
func frameChunk(buf []byte, n int) []byte {
	var size [chunkHeaderBytes]byte
	head := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	start := chunkHeaderBytes - len(head)
	copy(buf[start:], head)
	end := chunkHeaderBytes + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[start : end+2]
}

// respond takes over the response whose header has been read.
func (x *exchange) respond() {
	resp := &x.ctx.Response
	if err := x.feedHead(&resp.Header); err != nil {
		x.dropUpstream()
		x.answer(failProtocol)
		return
	}
	h := &x.resp
	x.ev.Status = uint16(h.status)
	if x.hasBody {
		resp.Header.SetConnectionClose() // an early response: the rest of the request's body is still to come
	}
	switch {
	case x.ctx.IsHead() || h.status == fasthttp.StatusNoContent || h.status == fasthttp.StatusNotModified:
		x.endAt = x.headAt
		x.releaseUpstream(false)
		x.record(failNone)
	case !h.chunked && h.length >= 0 && h.length <= bufferedBodyBytesMax:
		x.respondBuffered(resp, int(h.length))
	default:
		x.respondStream(resp)
	}
}

// respondBuffered reads the body whole and records the response.
func (x *exchange) respondBuffered(resp *fasthttp.Response, n int) {
	x.endAt = x.headAt
	if n > x.up.br.Buffered() {
		x.endAt = time.Time{}
	}
	body, err := x.readBody(x.up, n)
	if err != nil {
		x.dropUpstream()
		if isTimeout(err) {
			x.answer(failTimeout)
		} else {
			x.answer(failTruncated)
		}
		return
	}
	x.releaseUpstream(false)
	resp.SetBodyRaw(body)
	x.ev.ResponseBytes = uint64(n)
	x.record(failNone)
}

// respondStream lets the body be relayed after the handler has returned.
func (x *exchange) respondStream(resp *fasthttp.Response) {
	s, h := &x.stream, &x.resp
	*s = responseStream{x: x, framing: bodyUntilClose, left: 0}
	size := -1
	switch {
	case h.chunked:
		s.framing = bodyChunked
	case h.length >= 0:
		s.framing, s.left, size = bodyFixed, h.length, int(h.length)
	}
	if h.eventFeed && h.length < 0 {
		x.ev.Kind = event.KindStream
	}
	x.streaming = true
	if size < 0 && !x.ctx.Request.Header.IsHTTP11() {
		x.relayUntilClose(resp)
		return
	}
	// A header without a body byte behind it is worth a write of its own; so is one before WriteTo takes the connection.
	resp.ImmediateHeaderFlush = s.framing == bodyFixed || x.up.br.Buffered() == 0
	resp.SetBodyStream(s, size)
}

// relayUntilClose serves an HTTP/1.0 client a body of unknown length: it must end with the connection, and fasthttp would
// use chunks. The response is written here, and the one that fasthttp makes of the rest is swallowed.
func (x *exchange) relayUntilClose(resp *fasthttp.Response) {
	c := x.c
	resp.Header.SetConnectionClose()
	_, err := c.Write(resp.Header.Header())
	if err == nil {
		_, err = x.stream.WriteTo(c)
	}
	c.reset = err != nil
	_ = x.stream.Close()
	c.muted = true
	resp.ResetBody()
}

// releaseUpstream gives the connection back to the pool, or closes it when it cannot carry another request.
func (x *exchange) releaseUpstream(closes bool) {
	u := x.up
	if u == nil {
		return
	}
	x.up = nil
	if closes || x.upBroken || x.resp.closes() {
		x.c.p.pool.discard(u)
		return
	}
	x.c.p.pool.put(u)
}

// dropUpstream closes the connection.
func (x *exchange) dropUpstream() {
	if x.up != nil {
		x.c.p.pool.discard(x.up)
		x.up = nil
	}
}

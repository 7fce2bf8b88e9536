package proxy

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file sends request bodies to the upstream. Small bodies are sent together with the header (upload.buffer). A larger one is streamed by its own
// goroutine or task while the exchange waits for the response, because an upstream may respond before it has read everything.

// uploadGrace is how long a response waits for the end of an upload. If the body is complete by then, the connections can be reused; otherwise the
// response has "Connection: close".
const uploadGrace = 10 * time.Millisecond

// upload is the body of a request on its way to the server. While it is being streamed, only the task that sends it may use the body or read from the
// client. The other fields belong to the exchange, except for the atomic ones.
type upload struct {
	req   *request
	ev    *entry
	at    *times
	limit *timeLimit

	body             bodyReader
	awaitingContinue bool   // the client is waiting for 100 Continue, and the upstream has not responded yet
	continued        bool   // the proxy itself has sent 100 Continue to the client
	unread           bool   // bytes of the body may be left on the client's connection
	silentTo         *group // the group for which this counts as a silent upload; nil if it does not. Belongs to the task that sends the body, if there is one

	u      *upstreamConn // the connection over which the body is streamed
	ended  signal        // nil if nothing is being streamed, or if the end has been noticed
	err    error         // the result; written before ended is set
	sent   atomic.Uint64 // bytes of data sent so far
	sentAt time.Time     // when the last bytes were about to be sent; written before over is set
	over   atomic.Bool   // nothing more will be sent
	cancel atomic.Bool

	kept      []byte      // the bytes sent so far, for another attempt; belongs to the sending task
	forgotten atomic.Bool // kept is no longer complete, or no longer needed
}

// replayBytesMax is how much of a streamed body is kept until the response's header arrives, so that the request can be repeated if a server
// has not processed it. The first message of most gRPC calls is smaller.
const replayBytesMax = 16 << 10

// keep stores a piece of the body that is about to be sent, for another attempt.
func (l *upload) keep(b []byte) {
	switch {
	case l.forgotten.Load():
	case len(l.kept)+len(b) > replayBytesMax:
		l.forget()
	default:
		l.kept = append(l.kept, b...)
	}
}

// forget is called when there will be no other attempt. Any task may call it.
func (l *upload) forget() { l.forgotten.Store(true) }

// replayable reports whether everything that was sent has been kept.
func (l *upload) replayable() bool { return !l.forgotten.Load() }

// begin prepares for a new request.
func (l *upload) begin() {
	l.awaitingContinue, l.continued, l.unread, l.ended, l.u, l.kept = false, false, false, nil, nil, nil
	l.forgotten.Store(false)
}

// prepare begins handling the body. If the body is small, prepare reads it and appends it to the header in dst. Otherwise the body must be
// streamed to a server in the group.
func (l *upload) prepare(dst []byte, to *group) (out []byte, streamed bool, f failure) {
	r := l.req
	l.unread = true
	if limit := r.route.maxBody; limit > 0 && r.Length > limit {
		return dst, false, failBodyTooLarge
	}
	framing := http1.Fixed
	if r.Chunked {
		framing = http1.Chunks
	}
	l.body.reset(r.c.br, framing, r.Length)
	if r.Chunked || r.Length > int64(r.c.br.Buffered()) {
		l.at.beginRequest()
	}
	r.c.pace = pace{}
	out, streamed, err := l.buffer(dst, to)
	switch {
	case err == errMemory:
		return out, streamed, failMemory
	case err != nil:
		return out, streamed, r.c.bodyFailure()
	}
	return out, streamed, failNone
}

// buffer appends a body with a small declared length to the header, so that a slow client does not occupy an upstream connection. The buffer grows with
// the bytes that arrive, not with the declared length. buffer reports whether the body must be streamed. In that case it waits at most for the first
// byte, and only if there is no room for another silent upload.
func (l *upload) buffer(dst []byte, to *group) (out []byte, streamed bool, err error) {
	r := l.req
	if l.awaitingContinue || r.HTTP2 && r.Chunked { // a gRPC client may wait for the service's first message
		return dst, true, nil
	}
	if r.Chunked || r.Length > bufferedBodyBytesMax {
		if r.c.br.Buffered() == 0 && !l.beginSilence(to) {
			_, err = r.c.br.Peek(1)
		}
		return dst, true, err
	}
	at := len(dst)
	for !l.body.Ended() {
		have := len(dst)
		dst = slices.Grow(dst, int(min(l.body.Left(), int64(max(have-at, 4096)))))
		if size := cap(dst) + cap(r.Raw); size > scratchBytesKept && !r.c.holdUpTo(size) {
			return dst, false, errMemory
		}
		n, err := l.body.Read(dst[have:cap(dst)])
		if err != nil {
			return dst, false, err
		}
		dst = dst[:have+n]
	}
	l.unread = false
	l.ev.RequestBytes = uint64(r.Length)
	return dst, false, nil
}

// skip is called before a response that does not depend on the request's body. If the body has already arrived, it skips the body, so that the
// connection can be reused.
func (l *upload) skip() {
	r := l.req
	switch {
	case !r.HasBody():
	case !r.Chunked && r.Length <= int64(r.c.br.Buffered()):
		_, _ = r.c.br.Discard(int(r.Length))
		l.ev.RequestBytes = uint64(r.Length)
	default:
		l.unread = true
	}
}

// start begins streaming the body. Until the upload has ended, nothing else may use l.body or read from the client.
func (l *upload) start(u *upstreamConn) {
	c := l.req.c
	ended := c.driver.signal()
	l.u, l.ended, l.err = u, ended, nil
	l.sent.Store(0)
	l.cancel.Store(false)
	if u.call == nil {
		l.forget() // HTTP/1.1 cannot say that a request was not processed
	}
	c.watch.stirred = true // from now on, the upload may be the first to notice the end of the client's connection
	l.over.Store(false)
	c.unprompted.Store(l.awaitingContinue)
	if l.awaitingContinue {
		u.limits.armRead(l.limit.after(continueWait))
	} else {
		u.limits.armRead(l.limit.uploading())
	}
	c.driver.run(func() {
		defer ended.Set()
		defer func() {
			if r := recover(); r != nil {
				c.gen.o.Logger.Error("panic while sending a request body; ending only this request", "value", r, "stack", string(debug.Stack()))
				_ = u.Conn.Close()
				l.err = fmt.Errorf("%w: panic", errClientBody)
			}
		}()
		err := l.send()
		l.over.Store(true)
		switch {
		case errors.Is(err, errClientBody), errors.Is(err, errBodyTooLarge), isTimeout(err):
			_ = u.Conn.Close() // so that the upstream does not mistake this part for the whole body; closing also wakes the exchange
		default:
			l.beginResponseTime()
		}
		l.err = err
	})
}

// beginResponseTime starts the time limit for the upstream's response. It is called when the body has been sent, or when the upstream has
// refused it but may have responded anyway.
func (l *upload) beginResponseTime() {
	l.u.limits.read.CompareAndSwap(l.limit.uploading(), l.limit.after(l.req.route.responseTimeout))
}

// await is called when the response's header has been read. It gives the upload uploadGrace to end, so that the connections can be reused.
func (l *upload) await() {
	if l.awaitingContinue && !l.begun() {
		return // the client will not send the body
	}
	if l.ended != nil && l.ended.Wait(uploadGrace) {
		_ = l.finish() // the response determines the outcome; the upload's error affects only the connections
	}
}

// stop stops an upload that is no longer needed, and waits for the end of its task. It returns the upload's error if the client or a limit caused it,
// and nil if the upstream did.
func (l *upload) stop() error {
	if l.ended == nil {
		return nil
	}
	if l.over.Load() {
		l.ended.Wait(-1)
	} else {
		c := l.req.c
		l.cancel.Store(true)
		l.u.broken = true
		_ = l.u.Conn.Close()
		_ = c.Conn.SetReadDeadline(past)
		l.ended.Wait(-1)
		_ = c.Conn.SetReadDeadline(time.Time{})
		if isTimeout(l.err) && c.limits.read.Load() != fired { // caused by the deadline that stop set to end the upload
			c.failed.Store(false)
			l.err = nil
		}
	}
	return l.finish()
}

// finish is called when the upload has ended.
func (l *upload) finish() error {
	err := l.err
	l.ended, l.awaitingContinue = nil, false
	l.req.c.unprompted.Store(false)
	l.ev.RequestBytes = l.sent.Load()
	if err == nil {
		l.unread = !l.body.Ended()
		l.endSending()
		return nil
	}
	l.u.broken = true
	if errors.Is(err, errClientBody) || errors.Is(err, errBodyTooLarge) || isTimeout(err) {
		return err
	}
	return nil
}

// endSending records when the upstream had received the whole body, if it has received it.
func (l *upload) endSending() {
	if l.body.Ended() {
		l.at.endSending(l.sentAt)
	}
}

// note fills in the event's figures for an upload, which may still be in progress.
func (l *upload) note() {
	if l.ended == nil {
		return
	}
	l.ev.RequestBytes = l.sent.Load()
	if l.over.Load() { // the upload has ended since await checked
		l.endSending()
	}
}

// chunkHeaderBytes is the room for a chunk's size and CRLF before its data.
const chunkHeaderBytes = 10

// send sends the request's body in its original framing. It never sends the end of a malformed body.
func (l *upload) send() error {
	r, again := l.req, len(l.kept)
	if again == 0 && !l.body.Ended() {
		_, err := r.c.br.Peek(1) // so that a silent client does not cost a large buffer
		l.endSilence()
		if err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
	}
	loan := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(loan)
	buf := *loan
	if again > 0 {
		l.sent.Add(uint64(copy(buf[chunkHeaderBytes:], l.kept)))
		if err := l.sendPiece(buf, again); err != nil {
			return err
		}
	}
	limit := uint64(r.route.maxBody)
	for !l.cancel.Load() {
		n, err := l.body.Read(buf[chunkHeaderBytes : len(buf)-2])
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
		if sent := l.sent.Add(uint64(n)); limit > 0 && sent > limit {
			return errBodyTooLarge
		}
		l.keep(buf[chunkHeaderBytes : chunkHeaderBytes+n])
		if err := l.sendPiece(buf, n); err != nil {
			return err
		}
	}
	if !l.body.Ended() || !r.Chunked {
		return nil
	}
	tail := append(buf[:0], "0\r\n"...)
	return l.write(append(append(tail, r.route.requests.Rules.FilterTrailers(l.body.Trailers())...), '\r', '\n'))
}

// sendPiece sends n bytes of data, which begin at chunkHeaderBytes.
func (l *upload) sendPiece(buf []byte, n int) error {
	if l.req.Chunked {
		return l.write(frameChunk(buf, n))
	}
	return l.write(buf[chunkHeaderBytes : chunkHeaderBytes+n])
}

func (l *upload) write(b []byte) error {
	l.u.limits.armWrite(l.limit.after(l.req.route.responseTimeout))
	l.sentAt = time.Now()
	_, err := l.u.Conn.Write(b)
	return err
}

// frameChunk writes the chunk header before the n bytes of data at chunkHeaderBytes, and CRLF after them.
func frameChunk(buf []byte, n int) []byte {
	var size [chunkHeaderBytes]byte
	head := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	start := chunkHeaderBytes - len(head)
	copy(buf[start:], head)
	end := chunkHeaderBytes + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[start : end+2]
}

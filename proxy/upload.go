package proxy

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// Request bodies that are streamed to the upstream. Small bodies are sent with the header (exchange.bufferBody). Each other one is
// sent by its own goroutine or task while the exchange waits for the response, because an upstream may answer before it has read
// everything.

// uploadGrace is how long a response waits for the end of an upload. If the body is complete by then, the connections can be used
// again; otherwise the response carries "Connection: close".
const uploadGrace = 10 * time.Millisecond

// uploading is a read deadline that never fires: while a body is being sent, the response has no deadline.
const uploading = math.MaxInt64

// upload is a body that is being streamed.
type upload struct {
	ended  signal        // nil if there is no upload, or if its end has been seen
	err    error         // its result, before ended is set
	sent   atomic.Uint64 // bytes of data so far
	sentAt time.Time     // when its last bytes were about to be sent; before over is set
	over   atomic.Bool   // nothing more is sent
	cancel atomic.Bool
}

// bufferBody appends a body of small declared length to the header, so that a slow client does not hold an upstream connection.
// The buffer grows with the bytes that arrive, not with the declared length. For other bodies it waits for the first byte, unless
// the client waits for 100 Continue. It reports whether the body must be streamed.
func (x *exchange) bufferBody() (streamed bool, err error) {
	if x.awaitingContinue || x.head.HTTP2 && x.head.Chunked { // a client of gRPC may wait for the first message of the service
		return true, nil
	}
	if x.head.Chunked || x.head.Length > bufferedBodyBytesMax {
		_, err := x.c.br.Peek(1) // a client that sends nothing holds neither an upstream connection nor a second task
		return true, err
	}
	at := len(x.out)
	for !x.body.Ended() {
		have := len(x.out)
		x.out = slices.Grow(x.out, int(min(x.body.Left(), int64(max(have-at, 4096)))))
		if size := cap(x.out) + cap(x.head.Raw); size > scratchBytesKept && !x.c.holdUpTo(size) {
			return false, errMemory
		}
		n, err := x.body.Read(x.out[have:cap(x.out)])
		if err != nil {
			return false, err
		}
		x.out = x.out[:have+n]
	}
	x.unread = false
	x.ev.RequestBytes = uint64(x.head.Length)
	return false, nil
}

// startUpload starts sending the body. Until that ends, nothing else uses x.body and reads from the client.
func (x *exchange) startUpload(u *upstreamConn) {
	ended := x.c.driver.signal()
	x.upload.ended, x.upload.err = ended, nil
	x.upload.sent.Store(0)
	x.upload.cancel.Store(false)
	x.c.stirred = true // from now on, this upload may be the one that learns of the client's end
	x.upload.over.Store(false)
	x.c.unprompted.Store(x.awaitingContinue)
	if x.awaitingContinue {
		u.limits.armRead(x.deadline(continueWait))
	} else {
		u.limits.armRead(x.uploadDeadline())
	}
	x.c.driver.run(func() {
		defer ended.Set()
		defer func() {
			if r := recover(); r != nil {
				x.c.gen.o.Logger.Error("panic while sending a request body; ending only this request", "value", r, "stack", string(debug.Stack()))
				_ = u.Conn.Close()
				x.upload.err = fmt.Errorf("%w: panic", errClientBody)
			}
		}()
		err := x.sendBody(u)
		x.upload.over.Store(true)
		switch {
		case errors.Is(err, errClientBody), errors.Is(err, errBodyTooLarge), isTimeout(err):
			_ = u.Conn.Close() // the upstream must not take this for the whole body; it also wakes the exchange
		default:
			x.beginResponseTime(u)
		}
		x.upload.err = err
	})
}

// beginResponseTime starts the upstream's time to respond: the body has been sent, or the upstream refused it and may still have
// answered.
func (x *exchange) beginResponseTime(u *upstreamConn) {
	u.limits.read.CompareAndSwap(x.uploadDeadline(), x.deadline(x.route.responseTimeout))
}

// awaitUpload is called when the response's header has been read. It gives the upload uploadGrace to end, so that the connections can
// be used again.
func (x *exchange) awaitUpload() {
	if x.awaitingContinue && !x.bodyBegun() {
		return // the client will not send it
	}
	if x.upload.ended != nil && x.upload.ended.Wait(uploadGrace) {
		_ = x.uploadEnded() // the response decides the outcome; the upload's error only affects the connections
	}
}

// stopUpload stops an upload that is no longer needed, and waits for its goroutine. It returns the upload's error if the client or a
// limit caused it, and nil if the upstream did.
func (x *exchange) stopUpload() error {
	if x.upload.ended == nil {
		return nil
	}
	if x.upload.over.Load() {
		x.upload.ended.Wait(-1)
	} else {
		x.upload.cancel.Store(true)
		if x.up != nil {
			x.upBroken = true
			_ = x.up.Conn.Close()
		}
		_ = x.c.Conn.SetReadDeadline(past)
		x.upload.ended.Wait(-1)
		_ = x.c.Conn.SetReadDeadline(time.Time{})
		if isTimeout(x.upload.err) && x.c.limits.read.Load() != fired { // the deadline that stopped the upload here, not one of the client's
			x.c.failed.Store(false)
			x.upload.err = nil
		}
	}
	return x.uploadEnded()
}

func (x *exchange) uploadEnded() error {
	err := x.upload.err
	x.upload.ended, x.awaitingContinue = nil, false
	x.c.unprompted.Store(false)
	x.ev.RequestBytes = x.upload.sent.Load()
	if err == nil {
		x.unread = !x.body.Ended()
		x.endSending()
		return nil
	}
	x.upBroken = true
	if errors.Is(err, errClientBody) || errors.Is(err, errBodyTooLarge) || isTimeout(err) {
		return err
	}
	return nil
}

// chunkHeaderBytes is room for a chunk's size and CRLF in front of its data.
const chunkHeaderBytes = 10

// sendBody sends the request's body in the framing in which it arrived. It never completes a malformed body.
func (x *exchange) sendBody(u *upstreamConn) error {
	if _, err := x.c.br.Peek(1); err != nil { // a silent client costs no large buffer
		return fmt.Errorf("%w: %w", errClientBody, err)
	}
	loan := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(loan)
	buf := *loan
	limit := uint64(x.route.maxBody)
	for !x.upload.cancel.Load() {
		n, err := x.body.Read(buf[chunkHeaderBytes : len(buf)-2])
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
		if sent := x.upload.sent.Add(uint64(n)); limit > 0 && sent > limit {
			return errBodyTooLarge
		}
		piece := buf[chunkHeaderBytes : chunkHeaderBytes+n]
		if x.head.Chunked {
			piece = frameChunk(buf, n)
		}
		u.limits.armWrite(x.deadline(x.route.responseTimeout))
		x.upload.sentAt = time.Now()
		if _, err := u.Conn.Write(piece); err != nil {
			return err
		}
	}
	if !x.body.Ended() || !x.head.Chunked {
		return nil
	}
	tail := append(buf[:0], "0\r\n"...)
	tail = append(append(tail, x.route.requests.Rules.FilterTrailers(x.body.Trailers())...), '\r', '\n')
	u.limits.armWrite(x.deadline(x.route.responseTimeout))
	x.upload.sentAt = time.Now()
	_, err := u.Conn.Write(tail)
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

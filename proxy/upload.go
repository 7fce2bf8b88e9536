package proxy

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"
)

// The request's body on its way to the upstream. Small bodies go with the header (exchange.bufferBody). Others are sent by a
// goroutine of their own while the exchange waits for the response: an upstream may answer before it has read everything,
// and may answer while it reads.

// uploadGrace is how long a response waits for a body that is about to be sent completely, before it is answered with
// "Connection: close".
const uploadGrace = 10 * time.Millisecond

// continueWait is how long the upstream may take to say that it wants the body of a request with "Expect: 100-continue";
// then the proxy says so itself. Upstreams of HTTP/1.0, and many others, never do.
const continueWait = time.Second

// uploading is a read deadline that never fires: while the body is on its way, the response has no time to keep.
const uploading = math.MaxInt64

// upload is a body being sent. done is nil when there is none, or none any more.
type upload struct {
	done   chan error    // receives the result, once
	sent   atomic.Uint64 // bytes of data so far
	cancel atomic.Bool
}

// startUpload begins to send the body. Until it ends, x.body and reading from the client belong to its goroutine.
func (x *exchange) startUpload(u *upstreamConn) {
	done := make(chan error, 1)
	x.upload.done = done
	x.upload.sent.Store(0)
	x.upload.cancel.Store(false)
	u.limits.armRead(x.uploadBy())
	go func() {
		defer func() {
			if r := recover(); r != nil {
				x.c.p.o.Logger.Error("panic", "where", "upload", "value", r, "stack", string(debug.Stack()))
				_ = u.Conn.Close()
				done <- fmt.Errorf("%w: panic", errClientBody)
			}
		}()
		err := x.sendBody(u)
		switch {
		case errors.Is(err, errClientBody), errors.Is(err, errBodyTooLarge), isTimeout(err):
			_ = u.Conn.Close() // the upstream must not take what it has for the whole; the exchange hears of it as well
		default:
			// Sent, or refused by the upstream, which may have answered all the same: its time begins now.
			u.limits.read.CompareAndSwap(x.uploadBy(), x.by(x.c.p.o.ResponseTimeout))
		}
		done <- err
	}()
}

// settleUpload is called when the response's header is there. An upload that has ended well, or does so at once, leaves the
// connections usable.
func (x *exchange) settleUpload() {
	if x.upload.done == nil {
		return
	}
	select {
	case err := <-x.upload.done:
		_ = x.uploadEnded(err) // the response is there: what became of the upload only decides about the connections
		return
	default:
	}
	timer := time.NewTimer(uploadGrace)
	defer timer.Stop()
	select {
	case err := <-x.upload.done:
		_ = x.uploadEnded(err) // the response is there: what became of the upload only decides about the connections
	case <-timer.C:
	}
}

// stopUpload ends an upload that is still going on, because there is nobody left to send it to. It gives the reason when the
// upload failed by itself and the upstream is not to blame.
func (x *exchange) stopUpload() error {
	if x.upload.done == nil {
		return nil
	}
	var err error
	select {
	case err = <-x.upload.done:
	default:
		x.upload.cancel.Store(true)
		if x.up != nil {
			x.upBroken = true
			_ = x.up.Conn.Close()
		}
		_ = x.c.Conn.SetReadDeadline(past)
		err = <-x.upload.done
		_ = x.c.Conn.SetReadDeadline(time.Time{})
		if isTimeout(err) && x.c.limits.read.Load() != fired { // not the client's fault: it was interrupted here
			x.c.failed.Store(false)
			err = nil
		}
	}
	return x.uploadEnded(err)
}

func (x *exchange) uploadEnded(err error) error {
	x.upload.done = nil
	x.ev.RequestBytes = x.upload.sent.Load()
	if err == nil {
		x.unread = !x.body.ended
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

// sendBody sends the request's body in the framing it came in. A body that turns out to be malformed is never completed.
func (x *exchange) sendBody(u *upstreamConn) error {
	p := x.c.p
	loan := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(loan)
	buf := *loan
	limit := uint64(max(p.o.MaxRequestBodyBytes, 0))
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
		if x.head.chunked {
			piece = frameChunk(buf, n)
		}
		u.limits.armWrite(x.by(p.o.ResponseTimeout))
		if _, err := u.Conn.Write(piece); err != nil {
			return err
		}
	}
	if !x.body.ended || !x.head.chunked {
		return nil
	}
	tail := append(buf[:0], "0\r\n"...)
	tail = append(append(tail, x.body.trailers...), '\r', '\n')
	u.limits.armWrite(x.by(p.o.ResponseTimeout))
	_, err := u.Conn.Write(tail)
	return err
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

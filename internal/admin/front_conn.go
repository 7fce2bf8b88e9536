package admin

import (
	"bytes"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// frontConn is a connection that front serves. It belongs to its loop.
type frontConn struct {
	f      *front
	fd     int
	place  *place
	buf    []byte
	n      int       // bytes of buf that were read and not answered
	active time.Time // when something happened last
	asked  bool      // a request was answered
	awaits uint32    // what the loop waits for: EPOLLIN or EPOLLOUT

	sending *response // that the connection did not take whole; nil for none
	sent    int64     // bytes of it

	// A poller sends the same bytes again and again. Of the last request that was read by itself: its bytes, the document's
	// tag at the time, and which response that made; the response is not kept, because it would outlive its second.
	last  []byte
	tag   string
	which kind
}

// step is what a connection needs next.
type step int

const (
	awaitRequest step = iota
	awaitRoom         // for what is left of a response
	hangUp
	passOn // to net/http, with the bytes that were read
)

// rememberedBytesMax bounds what a connection keeps of a request.
const rememberedBytesMax = 512

func (c *frontConn) close() {
	_ = unix.Close(c.fd)
	c.place.free()
}

// interest is what the loop asks the kernel to tell of the connection.
func (c *frontConn) interest(events uint32) *unix.EpollEvent {
	c.awaits = events
	return &unix.EpollEvent{Events: events, Fd: int32(c.fd)} //nolint:gosec // a descriptor
}

// ready is called when what the connection waited for may have come. Notices are repeated for as long as there is
// something to read, so one read is enough.
func (c *frontConn) ready(now time.Time) step {
	c.active = now
	if c.sending != nil {
		if next := c.send(c.sending); next != awaitRequest {
			return next
		}
		return c.answer(now) // requests that came behind that one
	}
	n, err := unix.Read(c.fd, c.buf)
	switch {
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		return awaitRequest
	case err != nil || n <= 0:
		return hangUp
	}
	c.n = n
	return c.answer(now)
}

// answer answers all requests that have been read.
func (c *frontConn) answer(now time.Time) step {
	if len(c.last) > 0 && bytes.Equal(c.buf[:c.n], c.last) {
		if r := c.f.render(now); r != nil && r.etag == c.tag {
			c.n = 0
			return c.send(r.responses[c.which])
		}
	}
	for c.n > 0 {
		end := bytes.Index(c.buf[:c.n], []byte("\r\n\r\n")) + 4
		r := c.f.render(now)
		which, mine := kind(0), false
		if end >= 4 && r != nil {
			which, mine = c.f.answer(c.buf[:end-2], r.etag)
		}
		if !mine {
			return passOn
		}
		if end == c.n && end <= rememberedBytesMax {
			c.last, c.tag, c.which = append(c.last[:0], c.buf[:end]...), r.etag, which
		}
		c.n = copy(c.buf, c.buf[end:c.n])
		if next := c.send(r.responses[which]); next != awaitRequest {
			return next
		}
	}
	return awaitRequest
}

// send sends what the connection takes of a response, from where it stopped the last time.
func (c *frontConn) send(r *response) step {
	defer runtime.KeepAlive(r) // its file closes with it
	c.asked = true
	for c.sent < int64(len(r.bytes)) {
		var n int
		var err error
		if r.file != nil {
			n, err = unix.Sendfile(c.fd, r.fd, &c.sent, len(r.bytes)-int(c.sent)) // moves c.sent
		} else if n, err = unix.Write(c.fd, r.bytes[c.sent:]); n > 0 {
			c.sent += int64(n)
		}
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			c.sending = r
			return awaitRoom
		case err != nil || n <= 0:
			return hangUp
		}
	}
	c.sending, c.sent = nil, 0
	return awaitRequest
}

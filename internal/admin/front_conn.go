package admin

import (
	"bytes"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// frontConn is a connection that front serves. It belongs to one goroutine.
type frontConn struct {
	f        *front
	conn     net.Conn
	out      *sender
	buf      []byte
	n        int // bytes of buf that were read and not answered
	served   int
	deadline time.Time
	end      ending

	// A poller sends the same bytes again and again. Of the last request that was read by itself: its bytes, the document's
	// tag at the time, and which response that made; the response is not kept, because it would outlive its second.
	last  []byte
	tag   string
	which kind
}

// ending is what becomes of a connection that front is done with.
type ending int

const (
	hangUp ending = iota
	passOn        // to net/http, with the bytes that were read
)

// rememberedBytesMax bounds what a connection keeps of a request.
const rememberedBytesMax = 512

// pollerAfter is the number of requests from which a client is taken for one that keeps polling.
const pollerAfter = 8

// ready is called when there may be something to read; false waits for more. It stays within one call of RawConn.Read for
// as long as the connection is served, because between two calls a notice that came early would be forgotten: so a poller
// need not be read from in vain after each answer to learn that its next request has not come yet. A read that did not fill
// the buffer has taken everything, and what comes later gives a new notice. A client that closes in the very moment of its
// request would not, so the first few requests of a connection are followed by a read all the same.
func (c *frontConn) ready(fd uintptr) (done bool) {
	for {
		now := time.Now()
		if c.deadline.Sub(now) < frontIdle/2 { // moved seldom: setting it costs more than a read
			c.deadline = now.Add(frontIdle)
			_ = c.conn.SetDeadline(c.deadline)
		}
		n, err := unix.Read(int(fd), c.buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil || n <= 0:
			c.end = hangUp
			return true
		}
		if c.n = n; !c.answerAll(fd, now) {
			return true
		}
		if n < len(c.buf) && c.served >= pollerAfter {
			return false
		}
	}
}

// answerAll answers all requests that have been read; false if the connection ends here.
func (c *frontConn) answerAll(fd uintptr, now time.Time) bool {
	if len(c.last) > 0 && bytes.Equal(c.buf[:c.n], c.last) {
		if r := c.f.render(now); r != nil && r.etag == c.tag {
			return c.send(fd, r.responses[c.which], c.n)
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
			c.end = passOn
			return false
		}
		if end == c.n && end <= rememberedBytesMax {
			c.last, c.tag, c.which = append(c.last[:0], c.buf[:end]...), r.etag, which
		}
		if !c.send(fd, r.responses[which], end) {
			return false
		}
	}
	return true
}

// send answers the request in the first bytes of buf; false if the connection ends here.
func (c *frontConn) send(fd uintptr, answer *response, request int) bool {
	if err := c.out.send(answer, fd); err != nil {
		c.end = hangUp
		return false
	}
	c.served++
	c.n = copy(c.buf, c.buf[request:c.n])
	return true
}

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
}

// ending is what becomes of a connection that front is done with.
type ending int

const (
	hangUp ending = iota
	passOn        // to net/http, with the bytes that were read
)

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
		if c.n = n; !c.answer(now) {
			return true
		}
		if n < len(c.buf) && c.served >= pollerAfter {
			return false
		}
	}
}

// answer answers all requests that have been read; false if the connection ends here.
func (c *frontConn) answer(now time.Time) bool {
	for c.n > 0 {
		end := bytes.Index(c.buf[:c.n], []byte("\r\n\r\n"))
		var answer *response
		if end >= 0 {
			answer = c.f.answer(c.buf[:end+2], now)
		}
		if answer == nil {
			c.end = passOn
			return false
		}
		if err := c.out.send(answer); err != nil {
			c.end = hangUp
			return false
		}
		c.served++
		c.n = copy(c.buf, c.buf[end+4:c.n])
	}
	return true
}

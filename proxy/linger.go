package proxy

import (
	"errors"
	"io"
	"net"
	"time"
)

// The code in this file closes a client connection after its last response. If bytes arrive on a closed connection, the kernel responds
// with a reset, and the client loses what it has not yet received or read. So the proxy first closes only its own side and continues to
// read (RFC 9112, section 9.6), until the client has also closed its side, or has acknowledged everything and sends nothing more. See ADR
// 88.

const (
	// lingerSilence is how long the client may be silent if it has sent only part of its request's body; lingerQuiet is the limit otherwise.
	lingerSilence = 5 * time.Second
	lingerQuiet   = time.Second
	// lingerTime and lingerBytesMax limit how long and how much a client may continue to send.
	lingerTime     = 30 * time.Second
	lingerBytesMax = 64 << 20
	// lingerLook is how often the proxy checks whether the client has acknowledged more. It also checks after every lingerPieceBytes that
	// arrive.
	lingerLook       = 50 * time.Millisecond
	lingerPieceBytes = 64 << 10
)

// finish ends the connection after its last response. If the connection was refused without reading a request, finish is quick, because there may be
// many such connections.
func (c *clientConn) finish(refused bool) {
	x := c.x
	announced := !x.upload.unread && c.br.Buffered() == 0 && !x.req.Persistent() // the client has announced that nothing follows
	if c.reset || c.failed.Load() || c.gaveWay.Load() || announced && c.watch.unacknowledged() == 0 {
		return
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || !c.phase.CompareAndSwap(uint32(phaseBody), uint32(phaseLinger)) {
		return
	}
	if half.CloseWrite() != nil { // the client has reset the connection
		if c.watch.unacknowledged() > 0 {
			x.reply.undelivered()
		}
		return
	}
	l := linger{c: c, silence: lingerQuiet, limit: lingerTime}
	switch {
	case refused:
		l.limit = lingerQuiet
	case announced:
		l.silence = 0
	case x.upload.unread && x.req.HasBody():
		l.silence = lingerSilence
	}
	if l.wait(); l.lost {
		x.reply.undelivered()
	}
}

// linger is the state of a connection whose last response has been written.
type linger struct {
	c       *clientConn
	silence time.Duration // how long the client may send nothing
	limit   time.Duration // how long it may continue to send
	left    int           // bytes that were unacknowledged at the last check
	lost    bool          // the client will not receive the complete response
}

// wait returns when the connection can be closed.
func (l *linger) wait() {
	c, s := l.c, l.c.gen.sweeper
	began := s.now.Load()
	heard, advanced := began, began // when the client last sent something, and when it last acknowledged something
	for total := 0; total < lingerBytesMax; {
		c.lingerDeadline = s.after(lingerLook)
		n, err := c.br.Discard(lingerPieceBytes)
		now, left := s.now.Load(), c.watch.unacknowledged()
		if total += n; n > 0 {
			heard = now
		}
		if left != l.left {
			l.left, advanced = left, now
		}
		switch o := &c.gen.o; {
		case err != nil && !isTimeout(err):
			l.lost = left > 0 && err != io.EOF && !errors.Is(err, net.ErrClosed) // the client has reset the connection
			return
		case c.gaveWay.Load():
			l.lost = c.watch.unsent() // Close will discard them
			return
		case left == 0 && (passed(now, heard, l.silence) || passed(now, began, l.limit)):
			return
		case l.limit < lingerTime && passed(now, began, l.limit):
			return
		case left > 0 && o.WriteTimeout > 0 && passed(now, advanced, o.WriteTimeout):
			c.timedOut.Store(true)
			l.lost = c.watch.unsent()
			return
		}
	}
}

// passed reports whether d has passed since a time of the sweeper's clock.
func passed(now, since int64, d time.Duration) bool { return now-since >= int64(d) }

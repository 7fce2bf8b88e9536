package proxy

import (
	"errors"
	"io"
	"net"
	"os"

	"github.com/wayside-proxy/wayside/proxy/http2"
)

// h2Stream presents an HTTP/2 stream as a net.Conn that carries one request and its response in HTTP/1.1 form. Read returns the body of
// the request, with chunked coding if its length is not declared. Write takes the response. The struct's fields are guarded by h.mu unless
// their comment says otherwise.
type h2Stream struct {
	h *h2Conn       // not guarded
	s *http2.Stream // not guarded; nil after release
	c *clientConn   // the clientConn that serves this stream; not guarded

	h2Waits
	in h2Inbox // the request's body

	gone     bool // nothing more will arrive or can be sent
	closed   bool // the client has closed the tunnel: nothing more will arrive after in, and nothing can be sent
	noMemory bool // the body is dropped, because of MaxHeldBytes

	counted bool      // guarded by Proxy.mu; whether Proxy.h2streams includes the stream
	refused failure   // why there is no room for the stream; written before the stream is served
	out     h2Message // the response
}

// errStreamLost is the error of a stream that has been reset, or whose connection is lost.
var errStreamLost = errors.New("HTTP/2 stream was reset")

// forStream returns the clientConn for a stream. It copies the values that the streams of a connection share from c, which is
// h2Conn.model.
func (c *clientConn) forStream(st *h2Stream) *clientConn {
	s := &clientConn{
		Conn: st, stream: st, driver: c.driver, kind: c.kind, root: c.root, gen: c.gen, tlsVersion: c.tlsVersion,
		addr: c.addr, share: c.share, client: c.client, peer: c.peer,
	}
	s.watch.stream = st
	s.limits.conn = st
	s.phase.Store(uint32(phaseBody))
	return s
}

// start serves the stream in a new task.
func (st *h2Stream) start() {
	p := st.h.c.root
	st.refused = p.admission.admitStream(st.c)
	p.sweeper.add(&st.c.limits)
	st.c.driver.run(func() {
		defer st.h.endPanic()
		defer st.release()
		st.c.withReader(st.exchange)
	})
}

// exchange handles the stream's request.
func (st *h2Stream) exchange() (more bool) {
	c, x := st.c, st.c.x
	x.begin()
	h := &x.req.Request
	appendRaw(h, st.s.Head)
	h.HTTP2 = true
	err := st.s.Err
	if err == nil && (st.lacksMemory() || cap(h.Raw) > headBytesFree && !c.holdUpTo(cap(h.Raw))) {
		err = errMemory
	}
	switch {
	case st.refused != failNone:
		_ = h.ParseLine() // so that its parts are recorded
		x.ev.describe(&x.req)
		c.warn(st.refused)
		x.refuse(st.refused)
	case err != nil:
		_ = h.ParseLine()
		c.refuse(err)
	case st.isGone():
		_ = h.ParseLine()
		x.ev.describe(&x.req)
		x.clientLeft()
	default:
		x.handle()
	}
	st.h.c.answered.Store(true)
	return false
}

// release ends the stream.
func (st *h2Stream) release() {
	h := st.h
	h.mu.Lock()
	defer h.mu.Unlock()
	code := http2.CodeInternal
	if st.writeLate || st.readLate {
		code = http2.CodeCancel
	}
	if st.s.Ended() && !st.s.Reset() {
		h.ends++
	}
	st.gone = true
	h.m.Release(st.s, code)
	st.s = nil
	delete(h.open, st)
	h.c.share.unreserve(st.in.held)
	st.in = h2Inbox{}
	h.arm()
	if h.done() {
		h.leave()
	}
	h.flushSoon()
}

// receive takes a piece of the request's body. The windows limit how much arrives. The caller must hold mu.
func (st *h2Stream) receive(b []byte, end bool) {
	if st.gone || st.noMemory {
		return
	}
	if !st.in.add(b, st.h.c.share.reserve) {
		st.noMemory = true
		st.wake(&st.reader)
		return
	}
	st.in.ended = end
	st.wake(&st.reader)
}

// wasReset is called when the client has reset the stream, or has violated the protocol. Clients of WebSockets, such as browsers, close a
// tunnel with CANCEL instead of half-closing it. As with a client that closes an HTTP/1.1 connection, that is not a failure unless the
// upstream sends more. The caller must hold mu.
func (st *h2Stream) wasReset(code http2.Code) {
	if st.s.Tunnel() && (code == http2.CodeCancel || code == http2.CodeNone) {
		st.in.ended = true
	}
	st.lose()
}

// lose ends the stream early. If the client has half-closed a tunnel, the upstream still receives everything that the client sent. The
// caller must hold mu.
func (st *h2Stream) lose() {
	if st.s.Tunnel() && st.in.ended {
		st.closed = true
	} else {
		st.gone = true
	}
	st.c.watch.cancel()
	st.wakeBoth()
}

func (st *h2Stream) lacksMemory() bool {
	st.h.mu.Lock()
	defer st.h.mu.Unlock()
	return st.noMemory
}

func (st *h2Stream) isGone() bool {
	st.h.mu.Lock()
	defer st.h.mu.Unlock()
	return st.gone
}

// Read implements [net.Conn].
func (st *h2Stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	h := st.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case st.readLate:
			return 0, st.fail("read", os.ErrDeadlineExceeded)
		case st.gone:
			return 0, st.fail("read", errStreamLost)
		case st.noMemory:
			return 0, errMemory
		}
		n, data := st.in.copy(b, st.s.Chunked, st.s.Trailers)
		if data > 0 {
			h.m.Consumed(st.s, data)
			h.flushSoon()
		}
		if n > 0 {
			return n, nil
		}
		if st.in.ended {
			return 0, io.EOF
		}
		if st.s.Upgrade {
			h.c.share.unreserve(st.in.trim())
		}
		st.await(&st.reader)
	}
}

// fail wraps an error in the same way as the connections of package net do.
func (st *h2Stream) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "http2", Source: st.LocalAddr(), Addr: st.RemoteAddr(), Err: err}
}

// CloseWrite closes the write side of a tunnel, which carries data to the client.
func (st *h2Stream) CloseWrite() error { return st.putEnd(nil) }

// Close makes reads and writes fail. The stream ends when its exchange has ended.
func (st *h2Stream) Close() error {
	st.h.mu.Lock()
	defer st.h.mu.Unlock()
	st.gone = true
	st.wakeBoth()
	return nil
}

// LocalAddr implements [net.Conn].
func (st *h2Stream) LocalAddr() net.Addr { return st.h.c.Conn.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (st *h2Stream) RemoteAddr() net.Addr { return st.h.c.Conn.RemoteAddr() }

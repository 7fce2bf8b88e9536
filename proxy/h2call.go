package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
)

// h2Call presents a request to a server that speaks HTTP/2 as a net.Conn: Write takes the request in HTTP/1.1 form, and Read returns the
// response in that form. It is the counterpart of h2Stream. Fields are guarded by l.mu unless their comment says otherwise.
type h2Call struct {
	l      *h2Link       // not guarded
	s      *http2.Stream // nil if the header has not been sent yet, or the call is closed
	client *clientConn   // its address is charged for the memory; nil if no client is charged. Not guarded

	h2Waits
	in      h2Inbox // the response
	err     error   // why nothing more will arrive or can be sent
	closed  bool
	out     h2Message // the request
	upgrade bool      // the request is sent as an extended CONNECT if the server accepts that; belongs to the task that writes
}

var (
	// errUnprocessed means that the server has not processed the request, so any request may be repeated (RFC 9113, section 8.7).
	errUnprocessed = errors.New("the server has closed the connection before it processed the request (GOAWAY)")
	// errRefused is errUnprocessed for a single request.
	errRefused = fmt.Errorf("%w: the server has refused the stream", errUnprocessed)
	// errStreamReset means that the server has reset the stream for a reason other than errRefused. The end of a connection may have
	// nothing to do with a request, but a reset is the server's decision about the request.
	errStreamReset = errors.New("the server has reset the stream")
	// errStreamDone means that the server has sent a complete response and then reset the stream, because it does not want the rest of the
	// request (RFC 9113, section 8.1).
	errStreamDone = fmt.Errorf("%w after a complete response", errStreamReset)
	// errLinkLost means that the connection to the server has ended.
	errLinkLost = errors.New("the server closed the connection")
)

// Read implements [net.Conn].
func (c *h2Call) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case c.readLate:
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		}
		if c.s != nil {
			n, data := c.in.copy(b, c.s.Chunked, c.s.Trailers)
			if data > 0 {
				c.l.m.Consumed(c.s, data)
				c.l.flushSoon()
			}
			if n > 0 {
				return n, nil
			}
		}
		switch {
		case c.in.ended:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.fail("read", c.err)
		}
		if c.upgrade && c.client != nil {
			c.client.share.unreserve(c.in.trim())
		}
		c.await(&c.reader)
	}
}

// receiveHead receives the header of a response. The caller must hold mu.
func (c *h2Call) receiveHead(head []byte, end bool) {
	if c.err != nil {
		return
	}
	if c.client != nil && !c.client.share.reserve(int64(len(head))) {
		c.lose(errMemory)
		return
	}
	c.in.held += int64(len(head))
	c.in.lead = append(c.in.lead, head...) // no data has arrived yet, so lead contains only earlier headers
	c.in.ended = end
	c.wake(&c.reader)
}

// receive receives a piece of the response's body. The windows limit the total. The caller must hold mu.
func (c *h2Call) receive(b []byte, end bool) {
	if c.err != nil {
		return
	}
	reserve := func(n int64) bool { return c.client == nil || c.client.share.reserve(n) }
	if !c.in.add(b, reserve) {
		c.lose(errMemory)
		return
	}
	c.in.ended = end
	c.wake(&c.reader)
}

// wasReset ends the call because the server reset the stream or violated the protocol. A response that is already complete remains valid:
// the server has then only refused the rest of the request (RFC 9113, section 8.1). The caller must hold mu.
func (c *h2Call) wasReset(code http2.Code) {
	switch err := c.s.Err; {
	case errors.Is(err, http1.ErrHeaderSize):
		c.lose(errResponseHeader)
	case err != nil:
		c.lose(fmt.Errorf("%w: %w", http1.ErrResponse, err))
	case code == http2.CodeRefusedStream && len(c.in.lead)+len(c.in.data) == 0:
		c.l.refused()
		c.lose(errRefused)
	case code == http2.CodeNone && c.in.ended:
		c.lose(errStreamDone)
	default:
		c.lose(fmt.Errorf("%w: %s", errStreamReset, code))
	}
}

// lose ends the call early. The caller must hold mu.
func (c *h2Call) lose(err error) {
	if c.err == nil {
		c.err = err
	}
	c.wakeBoth()
}

// Write writes bytes of a request. A header, and each line of the framing, must be passed in one piece.
func (c *h2Call) Write(b []byte) (int, error) {
	n, err := c.out.write(b, c)
	if err != nil {
		err = c.fail("write", err)
	}
	return n, err
}

// putHead begins the stream with the request's header.
func (c *h2Call) putHead(block []byte) error {
	f := http1.FramingOf(block)
	if f.Chunked {
		c.out.framing.Reset(http1.Chunks, 0)
	} else {
		c.out.framing.Reset(http1.Fixed, max(f.Length, 0))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.upgrade && !c.l.m.Settled() && c.mayWrite() == nil {
		c.l.flushSoon() // the server may be waiting for the preface
		c.await(&c.writer)
	}
	if err := c.mayWrite(); err != nil {
		return err
	}
	if !c.l.m.CanOpen() {
		c.lose(errUnprocessed)
		return errUnprocessed
	}
	c.out.headed = true
	if c.upgrade && c.l.m.CanUpgrade() {
		c.out.framing.Reset(http1.UntilClose, 0) // the data of a tunnel has no framing
		c.s = c.l.m.WriteUpgrade(block, c.l.links.scheme)
	} else {
		c.s = c.l.m.WriteRequest(block, c.l.links.scheme, c.out.framing.Ended())
	}
	c.s.Value = c
	c.l.flushSoon()
	return nil
}

// putData writes data to the output as fast as the windows and the server allow.
func (c *h2Call) putData(p []byte, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		if err := c.mayWrite(); err != nil {
			return err
		}
		n := 0
		if c.l.m.Pending() < h2QueueBytes {
			piece := p[:min(len(p), h2PieceBytes)]
			n = c.l.m.WriteData(c.s, piece, end && len(piece) == len(p))
			p = p[n:]
		}
		c.l.flushSoon()
		if n == 0 {
			c.await(&c.writer)
		}
	}
	return nil
}

// putEnd ends the request's stream.
func (c *h2Call) putEnd(trailers []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayWrite(); err != nil {
		return err
	}
	if len(trailers) > 0 {
		c.l.m.WriteTrailers(c.s, trailers)
	} else {
		c.l.m.WriteData(c.s, nil, true)
	}
	c.l.flushSoon()
	return nil
}

// mayWrite returns the reason why nothing can be written, or nil. The caller must hold mu.
func (c *h2Call) mayWrite() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.err != nil:
		return c.err
	}
	return c.writeError(false)
}

// fail wraps an error in the same way as the connections of package net do.
func (c *h2Call) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "http2", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// CloseWrite closes the write side of a tunnel, which carries data to the server.
func (c *h2Call) CloseWrite() error { return c.putEnd(nil) }

// Close ends the stream. If the stream is not complete, it is reset, so that the server can stop its work. Any goroutine may call Close.
func (c *h2Call) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	if c.s != nil {
		c.l.m.Release(c.s, http2.CodeCancel)
		c.s = nil
	}
	if c.client != nil {
		c.client.share.unreserve(c.in.held)
	}
	c.in = h2Inbox{}
	c.wakeBoth()
	c.l.ended(c)
	c.mu.Unlock()
	c.l.links.retry(nil)
	return nil
}

// LocalAddr implements [net.Conn].
func (c *h2Call) LocalAddr() net.Addr { return c.l.Conn.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (c *h2Call) RemoteAddr() net.Addr { return c.l.Conn.RemoteAddr() }

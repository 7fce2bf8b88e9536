package proxy

import (
	"fmt"
	"io"
	"time"
)

// This file handles requests with "Expect: 100-continue" (RFC 9110, section 10.1.1). The upstream receives the header immediately. The
// body is sent as soon as any of it arrives, even if the client has not been asked for it, because a client need not wait for 100
// Continue.

// continueWait is how long the upstream may take to respond to the expectation. After that, the proxy itself sends 100 Continue, because many
// upstreams never do.
const continueWait = time.Second

// begun reports whether any part of the body has been sent to the upstream, or the body has turned out to be empty.
func (l *upload) begun() bool { return l.sent.Load() > 0 || l.over.Load() }

// expectInVain is called if the upstream has not responded to the expectation. It asks the client for the body, unless the body is
// already arriving.
func (l *upload) expectInVain() error {
	if !l.begun() {
		if _, err := io.WriteString(l.req.c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
		l.continued = true
	}
	l.endExpectation()
	return nil
}

// endExpectation is called when the client has been asked for the body, or has begun to send it.
func (l *upload) endExpectation() {
	l.awaitingContinue = false
	l.req.c.prompt()
	l.u.limits.armRead(l.limit.uploading())
	if l.over.Load() {
		l.beginResponseTime() // the upload called it before the expectation had ended
	}
}

// prompt is called when the client no longer waits for 100 Continue. From then on, its silence counts.
func (c *clientConn) prompt() {
	c.unprompted.Store(false)
	s := c.gen.sweeper
	c.limits.read.CompareAndSwap(0, s.after(c.gen.o.ReadTimeout))
	c.reading.resume(s.now.Load())
	if c.gaveWay.Load() { // the connection had no deadline that could have been fired
		c.limits.end()
	}
}

package proxy

import (
	"fmt"
	"io"
	"time"
)

// Requests with "Expect: 100-continue" (RFC 9110, section 10.1.1). The upstream receives the header at once. The body follows as soon as
// any of it comes, whether or not somebody has asked for it: the client need not wait for 100 Continue.

// continueWait is how long the upstream may take to answer the expectation. Then the proxy itself sends 100 Continue, because many
// upstreams never do.
const continueWait = time.Second

// begun reports whether anything of the body has been sent on, or all of an empty one.
func (l *upload) begun() bool { return l.sent.Load() > 0 || l.over.Load() }

// expectInVain is called if the upstream has not answered the expectation. It asks the client for the body, unless that is coming.
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

// endExpectation is called when the client has been asked for the body, or sends it.
func (l *upload) endExpectation() {
	l.awaitingContinue = false
	l.req.c.prompt()
	l.u.limits.armRead(l.limit.uploading())
	if l.over.Load() {
		l.beginResponseTime() // the upload has tried this too early
	}
}

// prompt makes the client's silence count from now on.
func (c *clientConn) prompt() {
	c.unprompted.Store(false)
	s := c.gen.sweeper
	c.limits.read.CompareAndSwap(0, s.after(c.gen.o.ReadTimeout))
	c.reading.resume(s.now.Load())
	if c.gaveWay.Load() { // there was no deadline to fire
		c.limits.end()
	}
}

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

// bodyBegun reports whether anything of the body has been sent on, or all of an empty one.
func (x *exchange) bodyBegun() bool { return x.upload.sent.Load() > 0 || x.upload.over.Load() }

// expectInVain is called if the upstream has not answered the expectation. It asks the client for the body, unless that is coming.
func (x *exchange) expectInVain(u *upstreamConn) error {
	if !x.bodyBegun() {
		if _, err := io.WriteString(x.c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
		x.continued = true
	}
	x.endExpectation(u)
	return nil
}

// endExpectation is called when the client has been asked for the body, or sends it.
func (x *exchange) endExpectation(u *upstreamConn) {
	x.awaitingContinue = false
	x.c.prompt()
	u.limits.armRead(x.uploadDeadline())
	if x.upload.over.Load() {
		x.beginResponseTime(u) // the upload has tried this too early
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

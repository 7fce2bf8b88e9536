package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echoBody responds with the request's body.
func echoBody(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

// pass waits until the proxy's clock has advanced by d and the deadlines up to that time have fired.
func (b *bench) pass(d time.Duration) {
	clock := b.p.sweeper
	end := clock.now.Load() + int64(d) + 3*clock.tick.Load()
	until(b.t, "time passes", func() bool { return clock.now.Load() >= end })
}

// TestEmptyLineBehindBody: a CRLF that a client sends after a body does not begin a request: the connection stays idle.
func TestEmptyLineBehindBody(t *testing.T) {
	const limit = time.Second // the limit for the first byte and the handshake, too
	b := start(t, origin(t, echoBody), func(o *Options) { o.HeaderTimeout = limit })
	const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
	var idle []*client
	for _, pieces := range [][]string{{post + "\r\n"}, {post, "\r\n"}, {post + "\r", "\n"}, {post + "\r\n\r\n", "\r\n"}} {
		c := b.dial()
		for range 2 {
			for i, piece := range pieces {
				c.send(piece)
				if i > 0 {
					continue
				}
				if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != "body" {
					t.Fatalf("%q: %v, %q", pieces, resp, body)
				}
				b.responses++
			}
		}
		idle = append(idle, c)
	}
	b.pass(limit) // the connection would have ended if a request had begun
	for _, c := range idle {
		if resp, _ := c.get("/"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		b.responses++
	}
	open := b.dial()
	open.send("\r\n") // a connection that sends nothing else must not delay the shutdown
	open.send(post + "\r\n")
	open.receive("POST")
	b.responses++
	if err := b.p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestEmptyLinesBetweenRequests: empty lines between requests are skipped, but only a limited number of them.
func TestEmptyLinesBetweenRequests(t *testing.T) {
	b := start(t, origin(t, echoBody), nil)
	c := b.dial()
	for _, lines := range []int{0, 1, 2, emptyLinesMax} {
		c.send(strings.Repeat("\r\n", lines) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, _ := c.receive("GET"); resp.StatusCode != 200 {
			t.Errorf("%d lines: %s", lines, resp.Status)
		}
		b.responses++
	}
	c.send(strings.Repeat("\r\n", emptyLinesMax+1))
	if resp, _ := c.receive("GET"); resp.StatusCode != 400 || !resp.Close {
		t.Errorf("too many lines: %v", resp)
	}
	b.responses++
	b.expect(b.responses-1, 400, "bad_request")
}

package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echoBody answers with the request's body.
func echoBody(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

// pass waits until the proxy's clock has advanced by d, and the deadlines of that time have fired.
func (b *bench) pass(d time.Duration) {
	clock := b.p.sweeper
	end := clock.now.Load() + int64(d) + 3*clock.tick.Load()
	until(b.t, "time passes", func() bool { return clock.now.Load() >= end })
}

// A CRLF that a client sends behind a body begins no request: the connection stays idle.
func TestEmptyLineBehindBody(t *testing.T) {
	const limit = time.Second // for the first byte too, and for the handshake
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
	b.pass(limit) // would be over if a request had begun
	for _, c := range idle {
		if resp, _ := c.get("/"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		b.responses++
	}
	open := b.dial()
	open.send("\r\n") // and a connection that sends nothing else holds no shutdown
	open.send(post + "\r\n")
	open.receive("POST")
	b.responses++
	if err := b.p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// Empty lines between requests are skipped, but not endlessly.
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

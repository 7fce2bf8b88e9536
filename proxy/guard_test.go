package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/test/httpcorpus"
)

// TestHostileRequests: a hostile request gets one response and one event, and its connection is closed. No complete request reaches the
// origin.
func TestHostileRequests(t *testing.T) {
	var complete atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			var req fasthttp.Request
			if err := req.Read(br); err != nil {
				return
			}
			complete.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	b := start(t, url, nil)
	for _, request := range httpcorpus.Requests() {
		if request.Status == 0 {
			continue
		}
		c := b.dial()
		c.send(request.Raw + httpcorpus.Smuggled)
		raw, _ := io.ReadAll(c.br)
		if !strings.HasPrefix(string(raw), fmt.Sprintf("HTTP/1.1 %d ", request.Status)) || bytes.Count(raw, []byte("HTTP/1.1 ")) != 1 {
			t.Errorf("%s: %q: %q", request.Name, request.Raw, raw)
		}
		b.responses++
		e := b.books.wait(t, b.responses)[b.responses-1]
		if int(e.Status) != request.Status || len(e.ErrorType) == 0 || bytes.Contains(e.Path, []byte("p@")) {
			t.Errorf("%s: %+v", request.Name, e)
		}
		if n := complete.Swap(0); n != 0 {
			t.Errorf("%s: %q: %d requests reached the origin", request.Name, request.Raw, n)
		}
	}
	if log := b.log.String(); strings.Contains(log, "canary") {
		t.Errorf("request bytes in the log: %s", log)
	}
}

func TestRefusals(t *testing.T) {
	b := start(t, origin(t, nil), func(o *Options) { o.MaxHeaderBytes = 4096 })
	b.responses = 5
	c := b.dial()
	c.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
	if resp, _ := c.receive("POST"); resp.StatusCode != 501 || !resp.Close {
		t.Error(resp)
	}
	b.expect(0, 501, "not_implemented")
	c = b.dial()
	c.send("GET /" + strings.Repeat("a", 4200) + " HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 414 {
		t.Error(resp)
	}
	b.expect(1, 414, "uri_too_long")
	c = b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 4200) + "\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 431 {
		t.Error(resp)
	}
	if e := b.expect(2, 431, "header_too_large"); string(e.Path) != "/" {
		t.Errorf("%+v", e)
	}
	c = b.dial()
	c.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: something\r\nContent-Length: 1\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 417 || !resp.Close {
		t.Error(resp)
	}
	b.expect(3, 417, "expectation_failed")
	c = b.dial()
	c.send("GET / HTTP/2.0\r\nHost: a\r\n\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 505 || !resp.Close {
		t.Error(resp)
	}
	b.expect(4, 505, "unsupported_version")
}

// TestHostileResponses: a hostile response becomes a 502, or is cut short if the fault comes late. Its connection is not reused.
func TestHostileResponses(t *testing.T) {
	var next atomic.Pointer[string]
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for readRequest(br) != "" {
			_, _ = io.WriteString(conn, *next.Load())
		}
	})
	b := start(t, url, func(o *Options) { o.ResponseTimeout = 2 * time.Second })
	for i, response := range httpcorpus.Responses() {
		next.Store(&response.Raw)
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		raw, _ := io.ReadAll(c.br)
		b.responses++
		e := b.books.wait(t, i+1)[i]
		want, kind := uint16(502), "protocol_error"
		if response.Late {
			want = 200
		}
		if strings.Contains(response.Raw, " 101 ") {
			kind = "unexpected_upgrade"
		}
		if len(response.Raw) > 17<<10 {
			kind = "response_header_too_large"
		}
		if e.Status != want || string(e.ErrorType) != kind {
			t.Errorf("%s: %q: %+v", response.Name, response.Raw, e)
		}
		if bytes.Contains(raw, []byte(httpcorpus.Canary)) || bytes.HasSuffix(raw, []byte("0\r\n\r\n")) {
			t.Errorf("%s: %q: %q", response.Name, response.Raw, raw)
		}
		if n := b.p.Metrics().UpstreamConns; n != 0 {
			t.Errorf("%s: %d upstream connections kept", response.Name, n)
		}
	}
}

func TestUnaskedUpgradeAndBytes(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), nil)
	b.responses = 1
	b.dial().get("/")
	b.expect(0, 502, "unexpected_upgrade")

	// Bytes after a complete response never become the response to the next request.
	var n atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for readRequest(br) != "" {
			n.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		}
	})
	b = start(t, url, nil)
	b.responses = 3
	c := b.dial()
	for range 3 {
		if _, body := c.get("/"); body != "ok" {
			t.Error(body)
		}
	}
	if n.Load() != 3 {
		t.Error(n.Load())
	}
}

// TestLateBytes: a superfluous response on an idle connection does not become the response to the next request, however soon that
// request follows. Neither does a body that an upstream sends after its response to HEAD.
func TestLateBytes(t *testing.T) {
	received, sent := make(chan struct{}), make(chan struct{}, 1)
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r := readRequest(br)
			if r == "" {
				return
			}
			if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"); err != nil {
				return
			}
			if !strings.HasPrefix(r, "HEAD") {
				_, _ = io.WriteString(conn, "good")
			}
			if _, ok := <-received; !ok { // the client has received its response
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil")
			sent <- struct{}{}
		}
	})
	b := start(t, url, nil)
	b.responses = 20
	c := b.dial()
	defer close(received)
	for i := range 20 {
		method := []string{"GET", "HEAD"}[i%2]
		c.send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, _ := c.receive(method); resp.Header.Get("X-Evil") != "" {
			t.Fatal("the response of nobody's request was delivered")
		}
		received <- struct{}{}
		<-sent
	}
}

// TestNoRetryAfterInterim: after any response, even 103, the upstream has received the request, so it is not sent again.
func TestNoRetryAfterInterim(t *testing.T) {
	var n atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for readRequest(br) != "" {
			if n.Add(1) == 2 {
				_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\n\r\n")
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	b := start(t, url, nil)
	b.responses = 2
	c := b.dial()
	c.get("/")
	if resp, _ := c.get("/"); resp.StatusCode != 103 {
		t.Error(resp)
	}
	if resp, _ := c.receive("GET"); resp.StatusCode != 502 || n.Load() != 2 {
		t.Error(resp, n.Load())
	}
	b.expect(1, 502, "connection_reset")
}

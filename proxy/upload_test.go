package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBothDirectionsAtOnce: a service may respond while it is still reading: its bytes arrive before the client has sent everything.
func TestBothDirectionsAtOnce(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})
	b := start(t, url, nil)
	b.responses = 2
	for range 2 {
		c := b.dial()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil || !resp.Close { // because it is not known yet whether the body will be complete
			t.Fatal(resp, err)
		}
		buf := make([]byte, 3)
		for _, word := range []string{"one", "two", "xyz"} {
			if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != word {
				t.Fatal(string(buf), err)
			}
			switch word {
			case "one":
				c.send("3\r\ntwo\r\n")
			case "two":
				c.send("3\r\nxyz\r\n")
			}
		}
		c.send("0\r\n\r\n")
		if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
			t.Fatal(rest, err)
		}
	}
	for _, e := range b.books.wait(t, 2) {
		if e.RequestBytes != 9 || e.ResponseBytes != 9 || e.Status != 200 {
			t.Errorf("%+v", e)
		}
	}
}

// TestSilentUpstreamAndExpect: even an upstream that never sends 100 receives the body.
func TestSilentUpstreamAndExpect(t *testing.T) {
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		if !strings.Contains(readRequest(br), "\r\nExpect: 100-continue\r\n") {
			t.Error("not asked")
		}
		body := make([]byte, 4)
		_, _ = io.ReadFull(br, body)
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\n"+string(body))
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if line, _ := c.br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatal(line)
	}
	_, _ = c.br.ReadString('\n')
	c.send("body")
	if resp, body := c.receive("PUT"); resp.StatusCode != 200 || body != "body" {
		t.Error(resp, body)
	}
}

// TestExpectRefused: if the service refuses before the client has sent any of the body, the response arrives and the connection is
// closed, because the client may already be sending the body.
func TestExpectRefused(t *testing.T) {
	url := canned(t, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if resp, body := c.receive("PUT"); resp.StatusCode != 403 || body != "no" || !resp.Close {
		t.Error(resp, body)
	}
	if e := b.books.all()[0]; e.RequestBytes != 0 {
		t.Errorf("%+v", e)
	}
}

// TestMalformedMidway: if a body turns out to be malformed midway, the streamed part never becomes a complete request.
func TestMalformedMidway(t *testing.T) {
	whole := make(chan bool, 8)
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, req.Body)
		whole <- err == nil || n == 0
	})
	b := start(t, url, nil)
	piece := "2000\r\n" + strings.Repeat("x", 0x2000) + "\r\n"
	for _, end := range []string{"x\r\n", "-1\r\n", "\r\n", "1\r\nab\r\n", "3\nabc\r\n", "0\r\nContent-Length: 1\r\n\r\n", "0\r\n\n"} {
		c := b.dial()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(piece, 20) + end)
		if resp, _ := c.receive("POST"); resp.StatusCode != 400 || !resp.Close {
			t.Errorf("%q: %v", end, resp)
		}
		if <-whole {
			t.Errorf("%q: the origin got a whole request, or nothing of it", end)
		}
		b.responses++
		b.expect(b.responses-1, 400, "bad_request")
	}
}

// TestUnpromptedBody: a client may send the body before it is asked to. The service receives the body at once, even if the service never
// sends 100.
func TestUnpromptedBody(t *testing.T) {
	asked := make(chan struct{})
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for strings.Contains(readRequest(br), "\r\nExpect: 100-continue\r\n") {
			asked <- struct{}{}
			body := make([]byte, 14)
			_, _ = io.ReadFull(br, body)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n"+string(body))
		}
	})
	b := start(t, url, nil)
	b.responses = 4
	c := b.dial()
	for _, body := range []string{"Content-Length: 14\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"} {
		for range 2 { // the second request uses the connections of the first
			header, body, _ := strings.Cut(body, "\r\n\r\n")
			c.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + header + "\r\n\r\n")
			<-asked
			c.send(body)
			if resp, got := c.receive("PUT"); resp.StatusCode != 200 || got != body {
				t.Errorf("%v, %q", resp, got) // a 100 would mean that the proxy has waited
			}
		}
	}
	if got := b.p.Metrics().Upstreams[0].Connects; got != 1 {
		t.Errorf("%d connections to the upstream", got)
	}
}

// TestSilenceBeforeContinueDoesNotCount: while a client waits for 100 Continue, its silence does not count, even if it is longer than
// the time limit on silence.
func TestSilenceBeforeContinueDoesNotCount(t *testing.T) {
	read := make(chan struct{})
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		readRequest(br)
		<-read
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		body := make([]byte, 4)
		_, _ = io.ReadFull(br, body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"+string(body))
	})
	b := start(t, url, func(o *Options) { o.ReadTimeout, o.MinBodyRate = 200*time.Millisecond, 1<<20 })
	b.responses = 2
	c := b.dial()
	c.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	b.pass(400 * time.Millisecond)
	read <- struct{}{}
	if line, _ := c.br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatal(line)
	}
	_, _ = c.br.ReadString('\n')
	c.send("body")
	if resp, body := c.receive("PUT"); resp.StatusCode != 200 || body != "body" {
		t.Error(resp, body)
	}
	c.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n") // after the 100, silence counts
	read <- struct{}{}
	_, _ = c.br.ReadString('\n')
	_, _ = c.br.ReadString('\n')
	if resp, _ := c.receive("PUT"); resp.StatusCode != 408 {
		t.Error(resp)
	}
	b.expect(1, 408, "request_timeout")
}

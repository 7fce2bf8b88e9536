package proxy

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// If a client leaves while the upstream works or is silent within its response, the upstream connection is closed within a second, even
// if no byte is written to the client.
func TestClientGoneClosesTheUpstream(t *testing.T) {
	arrived, closed := make(chan struct{}, 1), make(chan time.Time, 1)
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			_, _ = io.WriteString(w, "piece")
		case "/fixed":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 10))
		case "/buffered":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(make([]byte, 10))
		}
		if r.URL.Path != "/header" {
			w.(http.Flusher).Flush()
		}
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done() // net/http's server notices the end of its connection
		closed <- time.Now()
	})
	b := start(t, url, func(o *Options) { o.HeaderTimeout = 800 * time.Millisecond }) // ticks every 100 ms
	for i, request := range []string{
		"GET /header HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /header HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST /header HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /buffered HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		for _, reset := range []bool{false, true} {
			c := b.dial()
			c.send(request)
			<-arrived
			if reset {
				_ = c.conn.(*net.TCPConn).SetLinger(0)
			}
			_ = c.conn.Close()
			<-closed
			b.responses++
			e := b.books.wait(t, b.responses)[b.responses-1]
			if e.Status != 499 || string(e.ErrorType) != "client_closed" {
				t.Errorf("request %d, reset %v: %+v", i, reset, e)
			}
		}
	}
}

// A client that half-closes after its request receives an immediate answer.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }), nil)
	b.responses = 1
	c := b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = c.conn.(*net.TCPConn).CloseWrite()
	if resp, body := c.receive("GET"); resp.StatusCode != 200 || body != "here" {
		t.Error(resp.Status, body)
	}
}

// A client that has pipelined another request does not count as gone.
func TestPipeliningClientIsNotGone(t *testing.T) {
	release := make(chan struct{})
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}), func(o *Options) { o.BodyTimeout = time.Second }) // a short tick
	b.responses = 2
	c := b.dial()
	c.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	c.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	for tick := b.p.sweeper.now.Load(); b.p.sweeper.now.Load() < tick+int64(time.Second); {
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // until several ticks have passed
	}
	close(release)
	for _, want := range []string{"/slow", "/next"} {
		if _, body := c.receive("GET"); body != want {
			t.Error(body)
		}
	}
}

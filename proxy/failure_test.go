package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// deadAddr returns an address without a listener.
func deadAddr(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return "http://" + ln.Addr().String()
}

func (b *bench) expect(i int, status uint16, kind string) event.Event {
	b.t.Helper()
	e := b.books.wait(b.t, i+1)[i]
	if e.Status != status || string(e.ErrorType) != kind {
		b.t.Errorf("event %d: %+v, want %d %s", i, e, status, kind)
	}
	return e
}

func TestDeadUpstream(t *testing.T) {
	b := start(t, deadAddr(t), nil)
	b.responses = 3
	c := b.dial()
	resp, body := c.get("/x")
	if resp.StatusCode != 502 || resp.Close || resp.Header.Get("X-Request-Id") == "" || !strings.Contains(body, "502 Bad Gateway") ||
		strings.Contains(body, "127.0.0.1") {
		t.Error(resp, body)
	}
	c.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nX-Request-ID: abc\r\n\r\n")
	if resp, body = c.receive("GET"); resp.Header.Get("Content-Type") != "application/json" || !strings.Contains(body, `"request_id":"`+resp.Header.Get("X-Request-Id")+`"`) {
		t.Error(resp, body)
	}
	c.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, body = c.receive("HEAD"); resp.StatusCode != 502 || body != "" {
		t.Error(resp, body)
	}
	e := b.expect(0, 502, "connect_refused")
	if string(e.Path) != "/x" || e.ResponseBytes == 0 {
		t.Errorf("%+v", e)
	}
	if m := b.p.Metrics(); m.Failures["connect_refused"] != 3 || m.Responses[5] != 3 {
		t.Errorf("%+v", m)
	}
}

func TestTimeouts(t *testing.T) {
	release := make(chan struct{})
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		r := readRequest(br)
		if strings.Contains(r, "/body") {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
		}
		if strings.Contains(r, "/stream") {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nab")
		}
		<-release
	})
	defer close(release)
	b := start(t, url, func(o *Options) {
		const limit = 500 * time.Millisecond // this test's client and service need less, even on a busy machine
		o.ResponseTimeout, o.BodyTimeout, o.HeaderTimeout, o.ReadTimeout = limit, limit, limit, limit
	})
	b.responses = 5
	c := b.dial()
	for i, path := range []string{"/header", "/body"} {
		if resp, _ := c.get(path); resp.StatusCode != 504 {
			t.Error(resp)
		}
		b.expect(i, 504, "timeout")
	}
	c.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
	if raw, _ := io.ReadAll(c.br); strings.HasSuffix(string(raw), "0\r\n\r\n") {
		t.Error("a stream cut short looks complete")
	}
	b.expect(2, 200, "timeout")
	// The client leaves after half a header, after half a body, and before its first byte. In the last case there is no request and no response.
	c = b.dial()
	c.send("GET / HTTP/1.1\r\nHo")
	if resp, _ := c.receive("GET"); resp.StatusCode != 408 {
		t.Error(resp)
	}
	b.expect(3, 408, "request_timeout")
	c = b.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("x", 9000))
	if resp, _ := c.receive("POST"); resp.StatusCode != 408 {
		t.Error(resp)
	}
	b.expect(4, 408, "request_timeout")
	c = b.dial()
	if raw, err := io.ReadAll(c.br); len(raw) != 0 || err != nil {
		t.Errorf("%q %v", raw, err)
	}
}

func TestPoolExhausted(t *testing.T) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	url := origin(t, func(w http.ResponseWriter, r *http.Request) { entered <- struct{}{}; <-release })
	b := start(t, url, func(o *Options) { o.MaxConnsPerUpstream, o.MaxConnWait = 1, 30*time.Millisecond })
	b.responses = 3
	first := b.dial()
	first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	if resp, _ := b.dial().get("/"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Error(resp)
	}
	b.expect(0, 503, "pool_exhausted")
	close(release)
	first.receive("GET")
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 { // the connection is free again
		t.Error(resp)
	}
}

// TestPoolHandsOver: a waiting request receives a connection that becomes free, or the slot of one.
func TestPoolHandsOver(t *testing.T) {
	var n atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for readRequest(br) != "" {
			closing := n.Add(1)%3 == 0
			s := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
			if closing {
				s = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
			}
			_, _ = io.WriteString(conn, s)
			if closing {
				return
			}
		}
	})
	b := start(t, url, func(o *Options) { o.MaxConnsPerUpstream = 2 })
	b.responses = 400
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := b.dial()
			for range 50 {
				if resp, _ := c.get("/"); resp.StatusCode != 200 || resp.Close {
					t.Error(resp)
				}
			}
		})
	}
	wg.Wait()
}

// staleOrigin promises keep-alive, but serves one request per connection and closes the connection at the second.
func staleOrigin(t *testing.T, requests *atomic.Int32) string {
	return rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		if readRequest(br) == "" {
			return
		}
		requests.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if readRequest(br) != "" {
			requests.Add(1)
		}
	})
}

func TestRetryOnlyWhereItIsSafe(t *testing.T) {
	var n atomic.Int32
	b := start(t, staleOrigin(t, &n), nil)
	b.responses = 5
	c := b.dial()
	c.get("/")
	if resp, _ := c.get("/"); resp.StatusCode != 200 || n.Load() != 3 || b.p.Metrics().Retries != 1 {
		t.Error(resp, n.Load(), b.p.Metrics().Retries)
	}
	for i, r := range []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		if i == 1 {
			c.get("/")
		}
		before := n.Load()
		c.send(r)
		if resp, _ := c.receive("POST"); resp.StatusCode != 502 || n.Load() != before+1 {
			t.Error(resp, n.Load(), before)
		}
	}
	b.expect(2, 502, "connection_reset")
	b.expect(4, 502, "connection_reset")
}

// TestNoRetryOnFreshConnection: if a new connection closes before its first byte, the request fails and is not sent again.
func TestNoRetryOnFreshConnection(t *testing.T) {
	var n atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) { readRequest(br); n.Add(1) })
	b := start(t, url, nil)
	b.responses = 1
	if resp, _ := b.dial().get("/"); resp.StatusCode != 502 || n.Load() != 1 {
		t.Error(resp, n.Load())
	}
}

func TestEarlyResponseToAnUpload(t *testing.T) {
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(conn, "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, br)
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300000))
	if resp, body := c.receive("POST"); resp.StatusCode != 413 || body != "no" {
		t.Error(resp, body)
	}
}

func TestRequestBodyLimit(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	b := start(t, url, func(o *Options) { o.MaxRequestBodyBytes = 1000 })
	b.responses = 3
	for i, r := range []string{
		"Content-Length: 1001\r\n\r\n" + strings.Repeat("x", 1001),
		"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n",
	} {
		c := b.dial()
		c.send("POST / HTTP/1.1\r\nHost: a\r\n" + r)
		if resp, _ := c.receive("POST"); resp.StatusCode != 413 || !resp.Close {
			t.Error(resp)
		}
		b.expect(i, 413, "body_too_large")
	}
	c := b.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000))
	if resp, _ := c.receive("POST"); resp.StatusCode != 200 {
		t.Error(resp)
	}
}

// breaking is a Recorder that panics on every call. That must not make a request fail.
type breaking struct{ n atomic.Int32 }

func (r *breaking) Record(*event.Event) { r.n.Add(1); panic("books") }
func (r *breaking) Exclude()            { panic("books") }

func TestRecorderPanics(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	r := &breaking{}
	b := start(t, url, func(o *Options) { o.Recorder = r; o.RecordExclude.Paths = []string{"/x"} })
	b.responses = -1
	c := b.dial()
	for _, path := range []string{"/", "/x", "/"} {
		if resp, body := c.get(path); resp.StatusCode != 200 || body != "ok" {
			t.Error(resp, body)
		}
	}
	if r.n.Load() != 2 {
		t.Error(r.n.Load())
	}
}

func TestNilRecorder(t *testing.T) {
	b := start(t, origin(t, func(http.ResponseWriter, *http.Request) {}), func(o *Options) { o.Recorder = nil })
	b.responses = -1
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp)
	}
}

// setTarget changes the upstream's address without a running proxy's knowledge.
func setTarget(p *Proxy, to *target) {
	passLoops(p)
	p.onlyServer().pool.target = to
	passLoops(p)
}

// passLoops waits until each loop has called a function, because otherwise the race detector sees no synchronization between a loop and the test.
func passLoops(p *Proxy) {
	for _, d := range p.drivers.loops() {
		called := make(chan struct{})
		d.(*loopDriver).Post(func() { close(called) })
		<-called
	}
}

func TestHandlerPanicCostsOneRequest(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil)
	b.responses = 2
	upstream := b.p.onlyServer().pool.target
	setTarget(b.p, &target{dial: func(context.Context) (net.Conn, error) { panic("dial") }})
	c := b.dial()
	if resp, _ := c.get("/"); resp.StatusCode != 500 || !resp.Close {
		t.Error(resp)
	}
	setTarget(b.p, upstream)
	b.expect(0, 500, "panic")
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{},
		{Upstream: "ftp://a"},
		{Upstream: "http://"},
		{Upstream: "http://a/path"},
		{Upstream: "http://u:p@a"},
		{Upstream: "unix://a/b"},
		{Upstream: "unix://"},
		{Upstream: "http://a", ClientAddress: "some"},
		{Upstream: "http://a?q"},
	} {
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

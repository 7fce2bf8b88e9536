package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestClientGoneClosesTheUpstream: if a client leaves while the upstream is working or is silent within its response, the upstream
// connection is closed within a second, even if no byte is written to the client.
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
				_ = c.tcp().SetLinger(0)
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

// TestHalfClosedClientIsAnswered: a client that half-closes after its request still receives an immediate response.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }), nil)
	b.responses = 1
	c := b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = c.tcp().CloseWrite()
	if resp, body := c.receive("GET"); resp.StatusCode != 200 || body != "here" {
		t.Error(resp.Status, body)
	}
}

// TestPipeliningClientIsNotGone: a client that has pipelined another request does not count as gone.
func TestPipeliningClientIsNotGone(t *testing.T) {
	release := make(chan struct{})
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}), func(o *Options) { o.BodyTimeout = time.Second }) // makes the tick short
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

// waiting returns how many requests are waiting for an upstream connection.
func (b *bench) waiting() int {
	p := b.p.onlyServer().pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiters)
}

// TestQueuedRequestOfAGoneClientIsNotSent: a request that is waiting for an upstream connection is not sent if its client has left.
func TestQueuedRequestOfAGoneClientIsNotSent(t *testing.T) {
	entered, release := make(chan string, 8), make(chan struct{})
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r := readRequest(br)
			if r == "" {
				return
			}
			entered <- r
			<-release
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	b := start(t, url, func(o *Options) { o.MaxConnsPerUpstream, o.MaxConnWait = 1, time.Minute })
	answer := sync.OnceFunc(func() { close(release) })
	defer answer()
	b.responses = 5
	first := b.dial()
	first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	for i, leave := range []func(*net.TCPConn) error{
		(*net.TCPConn).Close,
		(*net.TCPConn).CloseWrite,
		func(conn *net.TCPConn) error { _ = conn.SetLinger(0); return conn.Close() },
	} {
		c := b.dial()
		c.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
		until(t, "the request waits", func() bool { return b.waiting() == 1 })
		if err := leave(c.tcp()); err != nil {
			t.Fatal(err)
		}
		b.expect(i, 499, "client_closed")
		until(t, "it waits no longer", func() bool { return b.waiting() == 0 })
	}
	answer()
	first.receive("GET")
	if resp, _ := first.get("/last"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if r := <-entered; !strings.HasPrefix(r, "GET /last ") {
		t.Error(r)
	}
}

// TestConnectionForAGoneClientGoesBack: if a connection, or a slot for one, has been handed to such a request, it goes back to the pool.
func TestConnectionForAGoneClientGoesBack(t *testing.T) {
	b := start(t, echoHead(t), func(o *Options) { o.Driver = DriverGoroutine })
	b.responses = 1
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close() }()
	d := b.p.drivers.all[0]
	gone := newClientConn(b.p.current.Load(), near, d, listenerPlain)
	_ = far.(*net.TCPConn).SetLinger(0)
	_ = far.Close()
	until(t, "the reset arrives", gone.watch.hungUp)
	p := b.p.onlyServer().pool
	for _, want := range []int64{0, 1} { // first a slot, then a connection
		p.mu.Lock()
		w := &waiter{ready: d.signal(), d: d, u: p.grant(d, nil), client: gone}
		p.mu.Unlock()
		if (w.u != nil) != (want == 1) {
			t.Fatalf("%d: granted %v", want, w.u)
		}
		w.ready.Set()
		if u, err := p.waitFor(w); u != nil || err != errClientLeft {
			t.Errorf("%v %v", u, err)
		}
		if open, idle := p.counts(); open != want || idle != want {
			t.Errorf("%d open, %d idle", open, idle)
		}
		if want == 0 {
			b.dial().get("/")
			until(t, "its connection is idle", func() bool { _, idle := p.counts(); return idle == 1 })
		}
	}
}

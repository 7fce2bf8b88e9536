package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// testDriver is the driver of the proxies under test: scripts/test.sh runs all tests with event loops and with goroutines.
var testDriver = flag.String("driver", string(DriverAuto), "driver of the proxies under test: auto, loop or goroutine")

// overTLS makes the clients of all tests speak TLS, so that everything that is tested for plain connections is tested for TLS, too.
var overTLS = flag.Bool("tls", false, "clients speak TLS")

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		os.Exit(m.Run()) // without a check for leaks, because benchmarks leave their servers running
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreTopFunction("time.Sleep"))
}

// books is a Recorder that keeps copies of the events, because their bytes belong to the connection.
type books struct {
	mu       sync.Mutex
	events   []event.Event
	excluded int
	changed  chan struct{} // closed and replaced at each event
}

func newBooks() *books { return &books{changed: make(chan struct{})} }

func (b *books) Record(e *event.Event) {
	buf := make([]byte, e.Size())
	e.Encode(buf)
	var kept event.Event
	if err := kept.Decode(buf); err != nil {
		panic(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, kept)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *books) Exclude() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.excluded++
}

func (b *books) all() []event.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]event.Event(nil), b.events...)
}

// wait returns once there are n events.
func (b *books) wait(t *testing.T, n int) []event.Event {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		b.mu.Lock()
		have, changed := len(b.events), b.changed
		b.mu.Unlock()
		if have >= n {
			return b.all()
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%d events after a minute, want %d: %v", have, n, b.all())
		}
	}
}

// bench is a proxy in front of an origin. At the end of the test it is shut down, and the number of events must then equal the number of responses that
// the test expects.
type bench struct {
	t         *testing.T
	p         *Proxy
	addr      string
	tls       bool
	books     *books
	responses int // number of responses expected at the end; -1 if it is not checked
	log       *testlog.Buffer
}

func start(t *testing.T, upstream string, change func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, books: newBooks(), log: &testlog.Buffer{}}
	o := Options{Upstream: upstream, Driver: Driver(*testDriver), Recorder: b.books, Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	o.DrainGrace = -1 // so that shutdowns do not wait for idle clients
	if change != nil {
		change(&o)
	}
	if *overTLS && o.TLS == nil {
		o.TLS = &TLSOptions{Config: testCertificates(t).server.Config}
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.p, b.addr = p, ln.Addr().String()
	served := make(chan error, 1)
	b.tls = o.TLS != nil
	if b.tls {
		go func() { served <- p.ServeTLS(ln) }()
	} else {
		go func() { served <- p.Serve(ln) }()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		events := b.books.all()
		if b.responses >= 0 && len(events)+b.books.excluded != b.responses {
			t.Errorf("%d events and %d excluded for %d responses: %+v", len(events), b.books.excluded, b.responses, events)
		}
		if n := p.Metrics().InFlight; n != 0 {
			t.Errorf("%d requests still in flight", n)
		}
		if n := p.Metrics().UpstreamConns; n != 0 {
			t.Errorf("%d upstream connections left", n)
		}
	})
	return b
}

// serveToo makes the proxy also serve a listener of the test's own, made by wrap, which later connections then use. Goroutines serve it,
// whatever the driver is.
func (b *bench) serveToo(wrap func(net.Listener) net.Listener) {
	b.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	serve := b.p.Serve
	if b.tls {
		serve = b.p.ServeTLS
	}
	go func() { _ = serve(wrap(ln)) }()
}

// origin serves h with net/http.
func origin(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// rawOrigin is an origin that passes each accepted connection to serve.
func rawOrigin(t *testing.T, serve func(conn net.Conn, br *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return "http://" + ln.Addr().String()
}

// client is a raw client connection.
type client struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
}

// proto is the value of X-Forwarded-Proto.
func (b *bench) proto() string {
	if b.tls {
		return "https"
	}
	return "http"
}

// connect connects to the proxy, over TLS if the proxy speaks TLS.
func (b *bench) connect() (net.Conn, error) {
	if b.tls {
		return tls.Dial("tcp", b.addr, testCertificates(b.t).client)
	}
	return net.Dial("tcp", b.addr)
}

// client wraps a new connection. A TLS handshake begins when the connection is first used.
func (b *bench) client(conn net.Conn) *client {
	if b.tls {
		conn = tls.Client(conn, testCertificates(b.t).client)
	}
	return &client{b.t, conn, bufio.NewReader(conn)}
}

func (b *bench) dial() *client {
	b.t.Helper()
	conn, err := b.connect()
	if err != nil {
		b.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	b.t.Cleanup(func() { _ = conn.Close() })
	return &client{b.t, conn, bufio.NewReader(conn)}
}

// tcp returns the TCP connection, which is below TLS if the client uses that.
func (c *client) tcp() *net.TCPConn {
	if t, ok := c.conn.(*tls.Conn); ok {
		return t.NetConn().(*net.TCPConn)
	}
	return c.conn.(*net.TCPConn)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads one response to a request with this method.
func (c *client) receive(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read body: %v", err)
	}
	return resp, string(body)
}

func (c *client) get(path string) (*http.Response, string) {
	c.t.Helper()
	c.send("GET " + path + " HTTP/1.1\r\nHost: Example.COM\r\n\r\n")
	return c.receive("GET")
}

func TestForward(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+r.Host)
	})
	b := start(t, url, nil)
	b.responses = 2
	c := b.dial()
	for range 2 {
		resp, body := c.get("/a%2Fb?secret=1")
		if resp.StatusCode != 200 || body != "hello Example.COM" {
			t.Fatal(resp.Status, body)
		}
		if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Date") == "" {
			t.Error(resp.Header)
		}
	}
	e := b.books.all()[0]
	if string(e.Path) != "/a%2Fb" || string(e.Host) != "example.com" || string(e.Client) != "127.0.0.0" ||
		e.Status != 200 || e.ResponseBytes != 17 || string(e.Method) != "GET" || "http://"+string(e.Upstream) != url {
		t.Errorf("%+v", e)
	}
	if e.TTFBMicros > e.DurationMicros || e.DurationMicros == 0 || !strings.HasPrefix(string(e.Protocol), "1.1") {
		t.Errorf("%+v", e)
	}
}

// plainRequest is a typical request.
const plainRequest = "GET /users/42?x=1 HTTP/1.1\r\nHost: app.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n"

// onlyServer returns the server of a proxy that has one.
func (p *Proxy) onlyServer() *server { return p.current.Load().group.members.Load().all[0].server }

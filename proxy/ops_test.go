package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// echoHead responds to each request with the request's header block.
func echoHead(t *testing.T) string {
	return rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r := readRequest(br)
			if r == "" {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nServer: old\r\nX-Powered-By: x\r\nContent-Length: "+strconv.Itoa(len(r))+"\r\n\r\n"+r)
		}
	})
}

func TestForwardingFields(t *testing.T) {
	b := start(t, echoHead(t), nil)
	b.responses = 3
	c := b.dial()
	c.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nVia: 1.1 first\r\n\r\n")
	if _, body := c.receive("GET"); !strings.Contains(body, "Via: 1.1 first\r\n") || !strings.Contains(body, "Via: 1.0 wayside\r\n") {
		t.Error(body)
	}
	o := b.p.current.Load().o
	o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	// If a trusted peer sends one form of forwarding fields, the proxy does not contradict it in the other form.
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\n\r\n")
	if _, body := c.receive("GET"); strings.Contains(body, "\r\nForwarded:") || !strings.Contains(body, "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n") ||
		!strings.Contains(body, "X-Real-IP: 9.9.9.9\r\n") {
		t.Error(body)
	}
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, body := c.receive("GET"); !strings.Contains(body, "\r\nForwarded: for=127.0.0.1;host=\"a\";proto="+b.proto()+"\r\n") {
		t.Error(body)
	}
	if got := string(appendForElement(nil, netip.MustParseAddr("2001:db8::1"), true)); got != `"[2001:db8::1]"` {
		t.Error(got)
	}
}

func TestFieldRules(t *testing.T) {
	b := start(t, echoHead(t), func(o *Options) {
		o.RequestFields = FieldRules{
			Set: []string{"Host: inner.example", "x-env: prod"}, Add: []string{"X-Tag: b"}, Remove: []string{"cookie", "X-Forwarded-Port"},
		}
		o.ResponseFields = FieldRules{Set: []string{"server: wayside"}, Add: []string{"X-Frame-Options: DENY"}, Remove: []string{"x-powered-by"}}
		o.ServerTiming = true
	})
	b.responses = 2
	c := b.dial()
	c.send("GET / HTTP/1.1\r\nHost: Outer.example\r\nCOOKIE: a=1\r\nX-Env: dev\r\nX-ENV: test\r\nX-Tag: a\r\nAccept: */*\r\n\r\n")
	resp, body := c.receive("GET")
	_, fields, _ := strings.Cut(body, "\r\n")
	if !strings.HasPrefix(fields, "X-Tag: a\r\nAccept: */*\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: Outer.example\r\n") ||
		!strings.HasSuffix(fields, "Host: inner.example\r\nx-env: prod\r\nX-Tag: b\r\n\r\n") || strings.Contains(fields, "Port") {
		t.Error(body)
	}
	if h := resp.Header; h.Get("Server") != "wayside" || h.Get("X-Frame-Options") != "DENY" || h.Get("X-Powered-By") != "" ||
		!strings.HasPrefix(h.Get("Server-Timing"), "upstream;dur=") {
		t.Error(resp.Header)
	}
	if e := b.books.all()[0]; string(e.Host) != "outer.example" {
		t.Errorf("recorded host %s", e.Host)
	}
	c.send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
	if resp, _ := c.receive("CONNECT"); resp.Header.Get("X-Frame-Options") != "DENY" || resp.Header.Get("Server-Timing") != "" {
		t.Error("own answer:", resp.Header)
	}
	for _, bad := range []FieldRules{
		{Set: []string{"Content-Length: 1"}},
		{Add: []string{"Host: b"}},
		{Remove: []string{"host"}},
		{Set: []string{"X: a\r\nY: b"}},
		{Set: []string{"X"}},
		{Remove: []string{"Transfer-Encoding"}},
		{Remove: []string{""}},
	} {
		if _, err := New(Options{Upstream: "http://127.0.0.1:1", RequestFields: bad}); !errors.Is(err, http1.ErrFieldRule) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	if *overTLS {
		t.Skip("TestTLSLimits: without room, a connection is closed before the handshake")
	}
	for name, change := range map[string]func(*Options){
		"connections_max":         func(o *Options) { o.MaxConns = 2 },
		"address_connections_max": func(o *Options) { o.MaxConnsPerAddress = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, echoHead(t), change)
			b.responses = 5
			one, two := b.dial(), b.dial()
			one.get("/")
			two.get("/")
			third := b.dial()
			third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, _ := third.receive("GET")
			if resp.StatusCode != 503 || !resp.Close || resp.Header.Get("Retry-After") == "" {
				t.Error(resp)
			}
			e := b.expect(2, 503, name)
			if len(e.Path) != 0 || string(e.Client) != "127.0.0.0" {
				t.Errorf("%+v", e)
			}
			_ = one.conn.Close()
			for b.p.Metrics().ClientConns > 1 { // until the proxy has noticed that they have left
				time.Sleep(time.Millisecond) //nolint:forbidigo // waits for a condition
			}
			if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
				t.Error("a place is free, and yet:", resp.Status)
			}
			two.get("/")
		})
	}
}

// TestBodyRate: a client that is never silent for long but sends almost nothing is cut off.
func TestBodyRate(t *testing.T) {
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }),
		func(o *Options) { o.ReadTimeout, o.MinBodyRate = 100*time.Millisecond, 1000 })
	b.responses = 1
	c := b.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				if _, err := c.conn.Write([]byte("x")); err != nil {
					return
				}
			}
		}
	}()
	resp, err := http.ReadResponse(c.br, nil)
	close(stop)
	<-stopped
	if err != nil || resp.StatusCode != 408 {
		t.Fatal(resp, err)
	}
	b.expect(0, 408, "request_timeout")
}

// TestBodyRateOfAPatientClient: a client that must wait for a slow upstream is not cut off. The limit is long enough for the client to
// continue in time on a busy machine.
func TestBodyRateOfAPatientClient(t *testing.T) {
	const limit = 2 * time.Second
	release := make(chan struct{})
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		<-release
		_, _ = io.Copy(io.Discard, r.Body)
	}), func(o *Options) { o.ReadTimeout, o.MinBodyRate = limit, 1000 })
	b.responses = 1
	patient := b.dial()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(patient.conn, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n"+strings.Repeat("x", 20_000_000))
		sent <- err
	}()
	for tick := b.p.sweeper.now.Load(); b.p.sweeper.now.Load() < tick+int64(2*limit); {
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // twice the limit
	}
	close(release)
	if resp, _ := patient.receive("POST"); resp.StatusCode != 200 {
		t.Error("held up by the upstream, blamed on the client:", resp.Status)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestTotalTimeout(t *testing.T) {
	const limit, events = time.Second, 150 // the events take longer than the limit
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		for i := 0; r.Context().Err() == nil && (i < events || r.URL.Path != "/events"); i++ {
			if r.URL.Path != "/silent" {
				_, _ = io.WriteString(w, "data: x\n\n")
				w.(http.Flusher).Flush()
			}
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}), func(o *Options) { o.TotalTimeout = limit })
	b.responses = 3
	c := b.dial()
	if resp, _ := c.get("/silent"); resp.StatusCode != 504 {
		t.Error(resp.Status)
	}
	b.expect(0, 504, "total_timeout")
	c = b.dial()
	c.send("GET /drip HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a body that was cut looks complete")
	}
	b.books.wait(t, 2)
	b.expect(1, 200, "total_timeout")
	if _, body := b.dial().get("/events"); strings.Count(body, "data") != events {
		t.Error("an event stream was cut:", body)
	}
}

// nameServer answers every A query with its current address.
func nameServer(t *testing.T, addr *atomic.Pointer[netip.Addr]) *net.Resolver {
	return answering(t, func(m *dnsmessage.Message) {
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: addr.Load().As4()},
			}}
		}
	})
}

// answering returns a resolver whose name server calls answer to complete each response.
func answering(t *testing.T, answer func(*dnsmessage.Message)) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			answer(&m)
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestUpstreamNameIsLookedUpAgain: if the upstream's name gets a new address, requests go there, although the connections to the old
// address still work.
func TestUpstreamNameIsLookedUpAgain(t *testing.T) {
	serve := func(addr string) net.Listener {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, addr[:9]) })}
		go func() { _ = server.Serve(ln) }()
		t.Cleanup(func() { _ = server.Close() })
		return ln
	}
	_, port, _ := net.SplitHostPort(serve("127.0.0.1:0").Addr().String())
	serve("127.0.0.2:" + port)
	var addr atomic.Pointer[netip.Addr]
	first, second := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	addr.Store(&first)
	b := start(t, "http://app.example.test:"+port, func(o *Options) {
		o.Resolver, o.ResolveInterval, o.BodyTimeout = nameServer(t, &addr), 20*time.Millisecond, 200*time.Millisecond
	})
	b.responses = -1
	c := b.dial()
	if _, body := c.get("/"); body != "127.0.0.1" {
		t.Fatal(body)
	}
	addr.Store(&second)
	for {
		resp, body := c.get("/") // keeps the connection busy all the time
		if resp.StatusCode != 200 {
			t.Fatal(resp.Status, body)
		}
		if body == "127.0.0.2" {
			break
		}
	}
}

func TestUpstreamMetrics(t *testing.T) {
	b := start(t, echoHead(t), nil)
	b.responses = 4
	c := b.dial()
	for range 3 {
		c.get("/")
	}
	o := b.p.current.Load().o
	o.Upstream = deadAddr(t)
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	c.get("/")
	m := b.p.Metrics()
	if len(m.Upstreams) != 2 || m.Responses[2] != 3 || m.Responses[5] != 1 {
		t.Fatalf("%+v", m)
	}
	for _, u := range m.Upstreams {
		if "http://"+u.Name == o.Upstream {
			if u.ConnectErrors != 1 || u.Failures["connect_refused"] != 1 || u.Responses[5] != 1 || u.FirstByteCount != 0 {
				t.Errorf("%+v", u)
			}
			continue
		}
		if u.Connects != 1 || u.Responses[2] != 3 || u.FirstByteCount != 3 || u.FirstByteSum <= 0 || u.FirstByte[10*time.Second] != 3 {
			t.Errorf("%+v", u)
		}
	}
}

// panicking is a connection that panics when its first bytes are read, before there is a request.
type panicking struct{ net.Conn }

func (panicking) Read([]byte) (int, error) { panic("read") }

// oneBad is a listener whose first connection panics.
type oneBad struct {
	net.Listener
	seen atomic.Bool
}

func (l *oneBad) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil && !l.seen.Swap(true) {
		return panicking{conn}, nil
	}
	return conn, err
}

func TestPanicOutsideARequestCostsOneConnection(t *testing.T) {
	b := start(t, echoHead(t), nil)
	b.responses = 1
	b.serveToo(func(ln net.Listener) net.Listener { return &oneBad{Listener: ln} })
	bad, err := b.connect()
	if err == nil {
		_, err = bad.Read(make([]byte, 1))
		_ = bad.Close()
	}
	if err == nil {
		t.Error("the broken connection is still open")
	}
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if !strings.Contains(b.log.String(), "panic on a client connection") {
		t.Error("the panic is not logged:", b.log.String())
	}
}

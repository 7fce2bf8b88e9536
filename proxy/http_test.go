package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// readRequest consumes one request and returns its header block.
func readRequest(br *bufio.Reader) string {
	var sb strings.Builder
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return ""
		}
		sb.WriteString(line)
		if line == "\r\n" {
			return sb.String()
		}
	}
}

// canned responds to each request on a connection with the same bytes.
func canned(t *testing.T, response string) string {
	return rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for readRequest(br) != "" {
			if _, err := io.WriteString(conn, response); err != nil {
				return
			}
		}
	})
}

func TestBodiless(t *testing.T) {
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r := readRequest(br)
			switch {
			case r == "":
				return
			case strings.HasPrefix(r, "HEAD"):
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
			case strings.HasPrefix(r, "GET /204"):
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nETag: x\r\n\r\n")
			case strings.HasPrefix(r, "GET /304"):
				_, _ = io.WriteString(conn, "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: x\r\n\r\n")
			default:
				_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	})
	b := start(t, url, nil)
	b.responses = 4
	c := b.dial()
	c.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, body := c.receive("HEAD"); resp.ContentLength != 12345 || body != "" || resp.Close {
		t.Error(resp, body)
	}
	if resp, _ := c.get("/204"); resp.StatusCode != 204 || resp.Header.Get("Etag") != "x" || resp.Close {
		t.Error(resp)
	}
	if resp, _ := c.get("/304"); resp.StatusCode != 304 || resp.Header.Get("Content-Length") != "77" {
		t.Error(resp)
	}
	if resp, body := c.get("/"); resp.StatusCode != 103 || resp.Header.Get("Link") != "x" || body != "" {
		t.Error(resp, body)
	}
	if resp, body := c.receive("GET"); resp.Status != "200 Fine" || body != "ok" {
		t.Error(resp, body)
	}
	if n := b.p.Metrics().UpstreamConns; n != 1 {
		t.Errorf("%d upstream connections", n)
	}
	for _, e := range b.books.all()[:3] {
		if e.ResponseBytes != 0 || len(e.ErrorType) != 0 {
			t.Errorf("%+v", e)
		}
	}
}

func TestHeaderTransparency(t *testing.T) {
	seen := make(chan string, 1)
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		seen <- readRequest(br)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-one: 1\r\nCONNECTION: x-gone, keep-alive\r\nx-Gone: 1\r\nX-ONE: 2\r\nKeep-Alive: timeout=5\r\n"+
			"Proxy-Authenticate: no\r\nUpgrade: h2c\r\nTrailer: X-T\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Request-ID: theirs\r\n"+
			"Content-Encoding: a\r\nContent-Encoding: b\r\nDate: then\r\nContent-Length: 0\r\n\r\n")
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("POST http://Example.com:81/x//../%2e%41?q=%20+ HTTP/1.1\r\nhost: other\r\nX-a: 1\r\nCONNECTION: close, x-secret\r\nX-Secret: 1\r\nx-A: 2\r\n" +
		"TE: gzip\r\nKeep-Alive: 3\r\nUpgrade: websocket\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n" +
		"X-Forwarded-For: 6.6.6.6\r\nX-FORWARDED-PROTO: https\r\nForwarded: for=6\r\nX-Real-IP: 6.6.6.6\r\n" +
		"X-Request-ID: mine-1\r\nContent-Length: 3\r\ntraceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n\r\nabc")
	resp, _ := c.receive("POST")
	_, port, _ := net.SplitHostPort(b.addr)
	want := "POST /x//../%2e%41?q=%20+ HTTP/1.1\r\nHost: Example.com:81\r\nX-a: 1\r\nx-A: 2\r\nContent-Length: 3\r\n" +
		"traceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\nX-Forwarded-For: 127.0.0.1\r\n" +
		"X-Forwarded-Host: Example.com:81\r\nX-Forwarded-Proto: " + b.proto() + "\r\nX-Forwarded-Port: " + port + "\r\n" +
		"Forwarded: for=127.0.0.1;host=\"Example.com:81\";proto=" + b.proto() + "\r\nX-Request-ID: " + resp.Header.Get("X-Request-Id") + "\r\nVia: 1.1 wayside\r\n\r\n"
	if got := <-seen; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, name := range []string{"X-Gone", "Keep-Alive", "Proxy-Authenticate", "Upgrade"} {
		if resp.Header.Get(name) != "" {
			t.Errorf("%s passed", name)
		}
	}
	if fmt.Sprint(resp.Header["X-One"], resp.Header["Set-Cookie"], resp.Header["X-Request-Id"], resp.Header["Content-Encoding"], resp.Header["Date"]) !=
		"[1 2] [a=1 b=2] ["+resp.Header.Get("X-Request-Id")+"] [a b] [then]" || len(resp.Header.Get("X-Request-Id")) != 36 {
		t.Error(resp.Header)
	}
	if !resp.Close {
		t.Error("client asked for close")
	}
	e := b.books.all()[0]
	if string(e.Path) != "/x//../%2e%41" || string(e.Host) != "example.com:81" || e.RequestBytes != 3 || len(e.TraceID) != 0 || e.Span != (event.Span{}) {
		t.Errorf("%+v", e)
	}
}

func TestTrustedProxyAndOptions(t *testing.T) {
	seen := make(chan string, 2)
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		for {
			r := readRequest(br)
			if r == "" {
				return
			}
			seen <- r
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	b := start(t, url, func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.TraceID, o.SpanPercent, o.ClientAddress = true, 100, ClientFull
		o.RecordExclude = Exclude{Paths: []string{"/healthz", "/static/*", "/ready probe/", "/live/* probe/"}, UserAgents: []string{"kube-probe/"}}
	})
	b.responses = 9
	c := b.dial()
	c.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\nForwarded: for=1\r\n" +
		"traceparent: 00-0123456789abcdef0123456789abcdef-2222222222222222-01\r\nX-Request-ID: bad id\r\nX-Request-ID: theirs-1\r\n\r\n")
	if resp, _ := c.receive("OPTIONS"); resp.Header.Get("X-Request-Id") != "theirs-1" {
		t.Error(resp.Header)
	}
	got := <-seen
	if !strings.HasPrefix(got, "OPTIONS * HTTP/1.1\r\n") || !strings.Contains(got, "\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\n") ||
		!strings.Contains(got, "\r\nX-Forwarded-Proto: https\r\n") || !strings.Contains(got, "Forwarded: for=1\r\n") ||
		!strings.Contains(got, "Forwarded: for=127.0.0.1;host=\"a\";proto="+b.proto()+"\r\n") || strings.Contains(got, "bad id") || strings.Contains(got, "X-Forwarded-Port") {
		t.Error(got)
	}
	c.send("GET /healthz?x HTTP/1.1\r\nHost: a\r\n\r\n")
	c.receive("GET")
	c.send("GET /static/a HTTP/1.1\r\nHost: a\r\n\r\n")
	c.receive("GET")
	<-seen
	<-seen
	c.send("GET /else HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.30\r\n\r\n")
	c.receive("GET")
	<-seen
	for _, r := range []string{"/ready HTTP/1.1\r\nUser-Agent: probe/1", "/live/x HTTP/1.1\r\nUser-Agent: probe/1"} { // both match
		c.send("GET " + r + "\r\nHost: a\r\n\r\n")
		c.receive("GET")
		<-seen
	}
	for _, r := range []string{"/else HTTP/1.1\r\nUser-Agent: probe/1", "/ready HTTP/1.1\r\nUser-Agent: curl/8", "/live/x HTTP/1.1\r\nUser-Agent: curl/8"} { // one does
		c.send("GET " + r + "\r\nHost: a\r\n\r\n")
		c.receive("GET")
		<-seen
	}
	e := b.books.all()
	if len(e) != 4 || b.books.excluded != 5 {
		t.Fatal(e, b.books.excluded)
	}
	span, _, _ := event.ParseTraceparent([]byte("00-0123456789abcdef0123456789abcdef-2222222222222222-01"))
	if e[0].Span != span || e[1].Span != (event.Span{}) || string(e[0].TraceID) != "0123456789abcdef0123456789abcdef" || string(e[0].Client) != "2.2.2.2" || string(e[0].Path) != "*" {
		t.Errorf("%+v", e[0])
	}
}

func TestChunkedBothWays(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(r.TransferEncoding) != 1 {
			w.WriteHeader(500)
		}
		w.(http.Flusher).Flush()
		_, _ = w.Write(body)
	})
	b := start(t, url, nil)
	b.responses = 3
	c := b.dial()
	for range 2 {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;ext=1\r\n0123456789abcdef\r\n0\r\nX-T: 1\r\n\r\n")
		resp, body := c.receive("POST")
		if resp.StatusCode != 200 || body != "abc0123456789abcdef" || len(resp.TransferEncoding) != 1 {
			t.Error(resp, body)
		}
		if resp.Close { // the response arrived before the end of the upload was noticed
			c = b.dial()
		}
	}
	e := b.books.all()[1]
	if e.RequestBytes != 19 || e.ResponseBytes != 19 || e.Kind != 1 {
		t.Errorf("%+v", e)
	}
	// An HTTP/1.0 client receives the body without chunks; it ends when the connection is closed.
	c.send("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
	raw, err := io.ReadAll(c.br)
	if err != nil || !strings.Contains(string(raw), "500") {
		t.Error(string(raw), err)
	}
}

func TestHTTP10(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), nil)
	b.responses = 1
	c := b.dial()
	c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	raw, err := io.ReadAll(c.br)
	if err != nil || !strings.HasPrefix(string(raw), "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(string(raw), "\r\n\r\nabcde") ||
		strings.Contains(string(raw), "chunked") || !strings.Contains(string(raw), "Connection: close") {
		t.Errorf("%q %v", raw, err)
	}
	if e := b.books.all()[0]; string(e.Protocol) != "1.0" || e.ResponseBytes != 5 {
		t.Errorf("%+v", e)
	}

	// If the length is known, the connection is kept. A connection to an HTTP/1.0 upstream without keep-alive is not reused.
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nuntil close")
	})
	b2 := start(t, url, nil)
	b2.responses = 2
	c = b2.dial()
	for range 2 {
		if resp, body := c.get("/"); body != "until close" || resp.Close {
			t.Error(resp, body)
		}
	}
}

func TestPipelining(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	b := start(t, url, nil)
	b.responses = 20
	c := b.dial()
	var sb strings.Builder
	for i := range 20 {
		fmt.Fprintf(&sb, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
	}
	c.send(sb.String())
	for i := range 20 {
		if _, body := c.receive("GET"); body != fmt.Sprintf("/%d", i) {
			t.Fatal(body, i)
		}
	}
}

func TestExpectContinue(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Header.Get("Expect")+string(body))
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	line, err := c.br.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatal(line, err)
	}
	_, _ = c.br.ReadString('\n')
	c.send("body")
	if _, body := c.receive("PUT"); body != "100-continuebody" {
		t.Error(body)
	}
}

func TestUnixUpstream(t *testing.T) {
	path := t.TempDir() + "/s"
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }), ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	b := start(t, "unix://"+path, nil)
	b.responses = 2
	c := b.dial()
	if _, body := c.get("/"); body != "Example.COM" {
		t.Error(body)
	}
	c.send("GET / HTTP/1.0\r\n\r\n")
	if _, body := c.receive("GET"); body != "localhost" {
		t.Error(body)
	}
	if e := b.books.all()[0]; string(e.Upstream) != "unix:"+path {
		t.Errorf("%s", e.Upstream)
	}
}

package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// h2 returns a client that speaks HTTP/2, with prior knowledge or, over TLS, by ALPN.
func (b *bench) h2() *http.Client {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true) // the transport does not know that its connections are encrypted
	tr := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if b.tls {
			config := testCertificates(b.t).client.Clone()
			config.NextProtos = []string{"h2"}
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// dialALPN does the same as dial, but negotiates h2.
func (b *bench) dialALPN() *client {
	if !b.tls {
		return b.dial()
	}
	b.t.Helper()
	config := testCertificates(b.t).client.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", b.addr, config)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	b.t.Cleanup(func() { _ = conn.Close() })
	return &client{b.t, conn, bufio.NewReader(conn)}
}

// echoRequest responds with the request's body, and with information about the request in fields and trailers.
func echoRequest(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Got", fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Host, " ", r.ContentLength, " ", r.TransferEncoding))
	w.Header().Set("Got-Via", r.Header.Get("Via"))
	w.Header().Set("Got-Cookie", r.Header.Get("Cookie"))
	w.Header().Set("Trailer", "Got-Trailer")
	body, _ := io.ReadAll(r.Body)
	_, _ = w.Write(body)
	w.Header().Set("Got-Trailer", r.Trailer.Get("Sum")+"-"+strconv.Itoa(len(body)))
}

func TestHTTP2RequestAndResponse(t *testing.T) {
	b := start(t, origin(t, echoRequest), nil)
	c := b.h2()
	long := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for name, test := range map[string]struct {
		method, body string
		length       int64
		trailer      bool
		got          string
	}{
		"GET":             {"GET", "", 0, false, "GET /a%2Fb?c=d example.org 0 []"},
		"POST":            {"POST", "hello", 5, false, "POST /a%2Fb?c=d example.org 5 []"},
		"empty POST":      {"POST", "", 0, false, "POST /a%2Fb?c=d example.org 0 []"},
		"chunked":         {"POST", "hello", -1, false, "POST /a%2Fb?c=d example.org -1 [chunked]"},
		"trailers":        {"PUT", "hello", -1, true, "PUT /a%2Fb?c=d example.org -1 [chunked]"},
		"large":           {"POST", long, int64(len(long)), false, "POST /a%2Fb?c=d example.org 1048576 []"},
		"large, chunked":  {"POST", long, -1, true, "POST /a%2Fb?c=d example.org -1 [chunked]"},
		"HEAD":            {"HEAD", "", 0, false, "HEAD /a%2Fb?c=d example.org 0 []"},
		"empty, trailers": {"POST", "", -1, true, "POST /a%2Fb?c=d example.org -1 [chunked]"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(b.books.all())
			r, _ := http.NewRequest(test.method, "http://"+b.addr+"/a%2Fb?c=d", struct{ io.Reader }{strings.NewReader(test.body)})
			r.ContentLength = test.length
			if test.length == 0 {
				r.Body = nil
			}
			r.Host = "example.org"
			r.Header["Cookie"] = []string{"a=b; c=d"}
			sum := ""
			if test.trailer {
				sum = "s"
				r.Trailer = http.Header{"Sum": {sum}}
			}
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != test.body || resp.ProtoMajor != 2 {
				t.Fatalf("%d bytes of body, want %d; %v", len(body), len(test.body), err)
			}
			h := resp.Header
			if h.Get("Got") != test.got || h.Get("Got-Via") != "2.0 wayside" || h.Get("Got-Cookie") != "a=b; c=d" || h.Get("X-Request-Id") == "" {
				t.Fatal(h)
			}
			if got := resp.Trailer.Get("Got-Trailer"); test.method != "HEAD" && got != sum+"-"+strconv.Itoa(len(body)) {
				t.Fatalf("trailer %q", got)
			}
			e := b.books.wait(t, before+1)[before]
			if string(e.Protocol) != "2" || string(e.Method) != test.method || string(e.Path) != "/a%2Fb" || e.Status != 200 ||
				e.ResponseBytes != uint64(len(body)) || e.RequestBytes != uint64(len(test.body)) || len(e.ErrorType) > 0 {
				t.Fatalf("%+v", e)
			}
		})
	}
	b.responses = 9
	if m := b.p.Metrics(); m.ClientConns != 1 || m.HTTP2Conns != 1 {
		t.Error(m.ClientConns, m.HTTP2Conns)
	}
}

// TestHTTP2ManyStreams: streams on the same connection, and concurrent HTTP/1.1 requests, never receive each other's responses.
func TestHTTP2ManyStreams(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Nonce", r.URL.Path)
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		_, _ = io.WriteString(w, r.URL.Path)
	}), nil)
	const workers, each = 48, 20
	c := b.h2()
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for n := range each {
				path := fmt.Sprintf("/%d/%d", i, n)
				body := strings.Repeat(path, (i*n)%3000)
				r, _ := http.NewRequest("POST", "http://"+b.addr+path, strings.NewReader(body))
				if i%2 == 0 {
					r.ContentLength = -1
				}
				resp, err := c.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(got) != body+path || resp.Header.Get("Nonce") != path {
					t.Errorf("%s: %d bytes, %v", path, len(got), err)
					return
				}
			}
		})
	}
	one := b.dial()
	for range each {
		if _, body := one.get("/one"); body != "/one" {
			t.Error(body)
		}
	}
	wg.Wait()
	b.responses = workers*each + each
	until(t, "no stream is left", func() bool { return b.p.Metrics().HTTP2Streams == 0 })
}

func TestHTTP2Interim(t *testing.T) {
	b := start(t, origin(t, hintAndEcho), nil)
	b.responses = 1
	b.expectHint()
}

// TestHTTP2Failures: failures of the upstream cause the same responses and records as with HTTP/1.1.
func TestHTTP2Failures(t *testing.T) {
	for name, test := range map[string]struct {
		upstream func(t *testing.T) string
		change   func(*Options)
		body     string
		status   int
		kind     string
	}{
		"refused":        {func(*testing.T) string { return "http://127.0.0.1:1" }, nil, "", 502, "connect_refused"},
		"malformed":      {func(t *testing.T) string { return canned(t, "HTTP/1.1 abc\r\n\r\n") }, nil, "", 502, "protocol_error"},
		"body too large": {func(t *testing.T) string { return origin(t, echoRequest) }, func(o *Options) { o.MaxRequestBodyBytes = 3 }, "hello", 413, "body_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, test.upstream(t), test.change)
			b.responses = 1
			resp, err := b.h2().Post("http://"+b.addr, "text/plain", strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != test.status {
				t.Fatal(resp.Status, err)
			}
			if e := b.books.wait(t, 1)[0]; e.Status != uint16(test.status) || string(e.ErrorType) != test.kind || string(e.Protocol) != "2" {
				t.Fatalf("%+v", e)
			}
		})
	}
}

// TestHTTP2CutResponse: if a response breaks off, its stream is reset, and the connection continues.
func TestHTTP2CutResponse(t *testing.T) {
	b := start(t, rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
	}), nil)
	b.responses = 2
	c := b.h2()
	for range 2 {
		resp, err := c.Get("http://" + b.addr)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "abc" {
			t.Fatalf("%q, %v", body, err)
		}
	}
	for _, e := range b.books.wait(t, 2) {
		if e.Status != 200 || string(e.ErrorType) != "upstream_truncated" || e.ResponseBytes != 3 {
			t.Fatalf("%+v", e)
		}
	}
	if n := b.p.Metrics().HTTP2Conns; n != 1 {
		t.Fatalf("%d connections", n)
	}
}

// TestHTTP2Reload: requests that begin after a reload use the new options, even on an open connection.
func TestHTTP2Reload(t *testing.T) {
	b := start(t, origin(t, echoRequest), nil)
	b.responses = 2
	c := b.h2()
	for _, want := range []string{"", "yes"} {
		resp, err := c.Get("http://" + b.addr)
		if err != nil || resp.Header.Get("New") != want {
			t.Fatal(err, resp.Header)
		}
		_, _ = io.ReadAll(resp.Body)
		o := b.p.current.Load().o
		o.ResponseFields = FieldRules{Set: []string{"New: yes"}}
		if err := b.p.Reload(o); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHTTP2Shutdown: a shutdown sends GOAWAY to the client, and serves the requests that the client has sent.
func TestHTTP2Shutdown(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	b := start(t, origin(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	}), nil)
	b.responses = 1
	got := make(chan string, 1)
	c := b.h2()
	go func() {
		resp, err := c.Get("http://" + b.addr)
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		got <- string(body)
	}()
	<-entered
	done := make(chan error, 1)
	go func() { done <- b.p.Shutdown(t.Context()) }()
	for !b.p.closing.Load() {
		time.Sleep(time.Millisecond) //nolint:forbidigo // waits for a condition
	}
	close(release)
	if s := <-got; s != "done" {
		t.Fatal(s)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestHTTP2EventStreamAtShutdown: an event stream does not end by itself: a shutdown cuts it off and records that.
func TestHTTP2EventStreamAtShutdown(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), nil)
	b.responses = 1
	resp, err := b.h2().Get("http://" + b.addr)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, buf); err != nil {
		t.Fatal(err)
	}
	if err := b.p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream was not cut")
	}
	if e := b.books.wait(t, 1)[0]; string(e.ErrorType) != "shutdown" || e.ResponseBytes != 9 {
		t.Errorf("%+v", e)
	}
}

// TestHTTP2AnswerToGRPC: clients of gRPC get the proxy's own responses in a form that they understand.
func TestHTTP2AnswerToGRPC(t *testing.T) {
	b := start(t, "http://127.0.0.1:1", nil)
	b.responses = 3
	c := b.h2()
	for contentType, want := range map[string]string{"application/grpc": "200 14", "application/grpc+proto": "200 14", "application/grpc-web": "502 "} {
		resp, err := c.Post("http://"+b.addr+"/pkg.Service/Method", contentType, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Grpc-Status")); err != nil || got != want || (len(body) == 0) != (want == "200 14") {
			t.Error(contentType, got, string(body), err)
		}
		if want == "200 14" && (resp.Header.Get("Grpc-Message") != "The service is not reachable." || resp.Header.Get("Content-Type") != "application/grpc") {
			t.Error(resp.Header)
		}
	}
	for _, e := range b.books.wait(t, 3) {
		if code, ok := e.GRPCStatus.Code(); ok != (e.Status == 200) || ok && code != 14 {
			t.Errorf("%+v", e)
		}
		if string(e.ErrorType) != "connect_refused" || string(e.Path) != "/pkg.Service/Method" {
			t.Errorf("%+v", e)
		}
	}
}

// TestGRPCStatusIsRecorded: the status of a gRPC call is recorded, whether it is in the response's header or in its trailers.
func TestGRPCStatusIsRecorded(t *testing.T) {
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		switch r.URL.Path {
		case "/s/TrailersOnly":
			w.Header().Set("Grpc-Status", "5")
		case "/s/Unary":
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write(body)
			w.Header().Set("Grpc-Status", "0")
		}
	}), nil)
	b.responses = 4
	c := b.h2()
	for i, test := range []struct {
		path, contentType string
		want              event.GRPCStatus
	}{
		{"/s/Unary", "application/grpc", event.GRPCOf(0)},
		{"/s/TrailersOnly", "application/grpc+proto", event.GRPCOf(5)},
		{"/s/None", "application/grpc", event.GRPCAbsent},
		{"/s/Unary", "text/plain", event.GRPCNone},
	} {
		r, _ := http.NewRequest("POST", "http://"+b.addr+test.path, struct{ io.Reader }{strings.NewReader("message")})
		r.Header.Set("Content-Type", test.contentType)
		r.Header.Set("TE", "trailers")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		if e := b.books.wait(t, i+1)[i]; e.GRPCStatus != test.want || e.Status != 200 {
			t.Errorf("%s: %+v", test.path, e)
		}
		if code := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); test.path == "/s/Unary" && code != "0" {
			t.Errorf("the client got %q", code)
		}
	}
}

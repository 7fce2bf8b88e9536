package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// originH2 uses net/http to serve h over HTTP/2 without TLS.
func originH2(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return "h2c://" + s.Listener.Addr().String()
}

// originALPN uses net/http to serve h over TLS with HTTP/2 and HTTP/1.1, and returns options with which the proxy trusts it.
func originALPN(t *testing.T, http2 bool, h http.HandlerFunc) (url string, change func(*Options)) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, func(o *Options) {
		o.Groups = []Group{{Servers: []Server{{URL: s.URL}}, TLS: UpstreamTLS{Insecure: true}}}
		o.Upstream = ""
	}
}

// All four combinations of HTTP/1.1 and HTTP/2 on the two sides, with and without TLS to the server.
func TestHTTP2Upstream(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for upstream, begin := range map[string]func(t *testing.T) *bench{
		"h2c": func(t *testing.T) *bench { return start(t, originH2(t, echoRequest), nil) },
		"h2": func(t *testing.T) *bench {
			url, change := originALPN(t, true, echoRequest)
			return start(t, url, change)
		},
		"http/1.1 by ALPN": func(t *testing.T) *bench {
			url, change := originALPN(t, false, echoRequest)
			return start(t, url, change)
		},
	} {
		for client, version := range map[string]string{"HTTP/1.1": "1.1", "HTTP/2": "2"} {
			for name, test := range map[string]struct {
				method, body string
				length       int64
				trailer      bool
			}{
				"GET":             {"GET", "", 0, false},
				"POST":            {"POST", "hello", 5, false},
				"empty POST":      {"POST", "", 0, false},
				"chunked":         {"POST", "hello", -1, false},
				"trailers":        {"PUT", "hello", -1, true},
				"large":           {"POST", long, int64(len(long)), false},
				"large, chunked":  {"POST", long, -1, true},
				"HEAD":            {"HEAD", "", 0, false},
				"empty, trailers": {"POST", "", -1, true},
			} {
				t.Run(upstream+", "+client+", "+name, func(t *testing.T) {
					b := begin(t)
					b.responses = 1
					c, scheme := b.h2(), "http" // its connections are encrypted without its knowledge
					if version == "1.1" {
						scheme = b.proto()
						tr := &http.Transport{TLSClientConfig: testCertificates(t).client}
						t.Cleanup(tr.CloseIdleConnections)
						c = &http.Client{Transport: tr, Timeout: 60 * time.Second}
					}
					r, _ := http.NewRequest(test.method, scheme+"://"+b.addr+"/a%2Fb?c=d", struct{ io.Reader }{strings.NewReader(test.body)})
					if r.ContentLength = test.length; test.length == 0 {
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
					if err != nil || string(body) != test.body {
						t.Fatalf("%d bytes of body, want %d; %v", len(body), len(test.body), err)
					}
					h, length := resp.Header, test.length
					got := fmt.Sprintf("%s /a%%2Fb?c=d example.org %d []", test.method, length)
					if upstream == "http/1.1 by ALPN" && length < 0 {
						got = strings.Replace(got, "[]", "[chunked]", 1)
					}
					if h.Get("Got") != got || h.Get("Got-Cookie") != "a=b; c=d" || h.Get("X-Request-Id") == "" {
						t.Fatal(h)
					}
					if via := h.Get("Got-Via"); via != version+" wayside" && via != version+".0 wayside" {
						t.Error(via)
					}
					if got := resp.Trailer.Get("Got-Trailer"); test.method != "HEAD" && got != sum+"-"+strconv.Itoa(len(body)) {
						t.Fatalf("trailer %q", got)
					}
					e := b.books.wait(t, 1)[0]
					if string(e.Protocol) != version || e.Status != 200 || e.ResponseBytes != uint64(len(body)) || e.RequestBytes != uint64(len(test.body)) ||
						len(e.ErrorType) > 0 {
						t.Fatalf("%+v", e)
					}
				})
			}
		}
	}
}

// Concurrent requests share a few connections, and none of them receives the response to another.
func TestHTTP2UpstreamManyStreams(t *testing.T) {
	b := start(t, originH2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Nonce", r.URL.Path)
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		_, _ = io.WriteString(w, r.URL.Path)
	}), nil)
	const workers, each = 48, 20
	schemes := []string{"http", b.proto()} // the connections of the first client are encrypted without its knowledge
	clients := []*http.Client{b.h2(), {Transport: &http.Transport{TLSClientConfig: testCertificates(t).client, MaxIdleConnsPerHost: workers}}}
	t.Cleanup(clients[1].CloseIdleConnections)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for n := range each {
				path := fmt.Sprintf("/%d/%d", i, n)
				body := strings.Repeat(path, (i*n)%3000)
				r, _ := http.NewRequest("POST", schemes[i%2]+"://"+b.addr+path, strings.NewReader(body))
				if i%4 < 2 {
					r.ContentLength = -1
				}
				resp, err := clients[i%2].Do(r)
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
	wg.Wait()
	b.responses = workers * each
	until(t, "the requests have ended", func() bool { return b.p.Metrics().UpstreamConns == b.p.Metrics().UpstreamIdle })
	if n := b.p.Metrics().UpstreamConns; n < 1 || n > int64(len(b.p.drivers.all)) {
		t.Errorf("%d connections", n)
	}
}

func TestHTTP2UpstreamInterim(t *testing.T) {
	b := start(t, originH2(t, hintAndEcho), nil)
	b.responses = 2
	b.expectHint()
	c := b.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	for _, want := range []int{103, 100} {
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatal(resp, err)
		}
	}
	c.send("x")
	if resp, body := c.receive("POST"); resp.StatusCode != 200 || body != "x" {
		t.Error(resp.Status, body)
	}
}

// If a client leaves, its request ends at the server, and no other request does.
func TestHTTP2UpstreamClientLeaves(t *testing.T) {
	cancelled, entered := make(chan string, 1), make(chan struct{}, 4)
	b := start(t, originH2(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
		cancelled <- r.URL.Path
	}), nil)
	b.responses = 2
	c := b.dial()
	c.send("GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	h := b.dialH2()
	h.request(1, true, "GET", "/two")
	<-entered
	_ = c.conn.Close()
	if got := <-cancelled; got != "/one" {
		t.Fatal(got)
	}
	h.ok(h.f.WriteRSTStream(1, xhttp2.ErrCodeCancel))
	if got := <-cancelled; got != "/two" {
		t.Fatal(got)
	}
	for _, e := range b.books.wait(t, 2) {
		if e.Status != 499 {
			t.Errorf("%+v", e)
		}
	}
	if n := b.p.Metrics().UpstreamConns; n == 0 {
		t.Error("the connection was closed")
	}
}

// A client that does not read its response does not delay the other requests on the connection.
func TestHTTP2UpstreamSlowClients(t *testing.T) {
	b := start(t, originH2(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = w.Write(make([]byte, 32<<20))
		}
	}), nil)
	b.responses = -1
	for range 40 {
		c := b.dial()
		c.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := c.br.ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
}

// An upgrade needs HTTP/1.1: with TLS, it gets a connection of its own; with h2c, the server receives a request without the upgrade.
func TestHTTP2UpstreamUpgrade(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			w.Header().Set("Upgrade-Was", r.Header.Get("Upgrade"))
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhello")
		_ = conn.Close()
	}
	url, change := originALPN(t, true, handler)
	for name, b := range map[string]*bench{"h2": start(t, url, change), "h2c": start(t, originH2(t, handler), nil)} {
		b.responses = 2
		if resp, _ := b.dial().get("/"); name == "h2c" && resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"h2": 101, "h2c": 200}[name]; resp.StatusCode != want || resp.Header.Get("Upgrade-Was") != "" {
			t.Error(name, resp.Status, resp.Header)
		}
		if name == "h2" {
			if got, _ := io.ReadAll(c.br); string(got) != "hello" {
				t.Error(string(got))
			}
		}
	}
}

// If a server begins or ceases to speak HTTP/2, the next connection notices that.
func TestHTTP2UpstreamChangesProtocol(t *testing.T) {
	var current atomic.Pointer[tls.Config]
	cert := newAuthority(t).pair(time.Now().Add(time.Hour))
	speak := func(protocols ...string) {
		current.Store(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protocols})
	}
	speak("http/1.1")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Got", r.Proto) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	b := start(t, "", func(o *Options) {
		o.Groups = []Group{{Servers: []Server{{URL: s.URL}}, TLS: UpstreamTLS{Insecure: true}}}
	})
	for i, protocol := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/1.1"} {
		if i == 1 {
			speak("h2")
		} else {
			speak("http/1.1")
		}
		b.p.onlyServer().pool.discardIdle(func(*upstreamConn) bool { return true })
		if resp, _ := b.dial().get("/"); resp.StatusCode != 200 || resp.Header.Get("Got") != protocol {
			t.Error(i, resp.Status, resp.Header)
		}
		b.books.wait(t, i+1)
		until(t, "it is idle", func() bool { return b.p.Metrics().UpstreamIdle >= 1 })
	}
	b.responses = 3
}

// The active checks of a group use the protocol that each server speaks.
func TestHTTP2UpstreamCheck(t *testing.T) {
	var protocols sync.Map
	b := start(t, "", func(o *Options) {
		o.Groups = []Group{{Check: Check{Path: "/up", Every: 10 * time.Millisecond}, Servers: []Server{
			{URL: originH2(t, func(_ http.ResponseWriter, r *http.Request) { protocols.Store(r.Proto, true) })},
			{URL: originH2(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })},
		}}}
	})
	until(t, "one server is down", func() bool { return len(b.p.current.Load().group.members.Load().usable) == 1 })
	b.responses = 1
	if resp, _ := b.dial().get("/"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if _, ok := protocols.Load("HTTP/2.0"); !ok {
		t.Error("the check did not speak HTTP/2")
	}
}

// Clients that leave at any moment, servers that reset streams, and connections that end leave nothing behind: no occupied place, no memory,
// and no response to another request.
func TestHTTP2UpstreamUnrest(t *testing.T) {
	b := start(t, originH2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Nonce", r.URL.Path)
		n, _ := io.Copy(io.Discard, r.Body)
		if strings.HasSuffix(r.URL.Path, "7") {
			panic(http.ErrAbortHandler) // a reset
		}
		_, _ = w.Write(make([]byte, 100_000+n))
	}), nil)
	b.responses = -1
	stop := make(chan struct{})
	var reloads, workers sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				b.p.onlyServer().pool.discardIdle(func(*upstreamConn) bool { return true }) // as after a change of files
			}
		}
	})
	schemes := []string{"http", b.proto()} // the connections of the first client are encrypted without its knowledge
	clients := []*http.Client{b.h2(), {Transport: &http.Transport{TLSClientConfig: testCertificates(t).client, MaxIdleConnsPerHost: 16}}}
	t.Cleanup(clients[1].CloseIdleConnections)
	for i := range 16 {
		workers.Go(func() {
			for n := range 60 {
				path := fmt.Sprintf("/%d/%d", i, n)
				ctx, cancel := context.WithCancel(t.Context())
				r, _ := http.NewRequestWithContext(ctx, "POST", schemes[i%2]+"://"+b.addr+path, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", n*977))})
				if n%3 == 0 {
					time.AfterFunc(time.Duration(i*n)*time.Microsecond, cancel)
				}
				resp, err := clients[i%2].Do(r)
				if err == nil {
					if got := resp.Header.Get("Nonce"); resp.StatusCode == 200 && got != path {
						t.Errorf("%s got the response of %s", path, got)
					}
					if n%3 == 1 {
						_, _ = io.CopyN(io.Discard, resp.Body, 1000)
					} else {
						_, _ = io.Copy(io.Discard, resp.Body)
					}
					_ = resp.Body.Close()
				}
				cancel()
			}
		})
	}
	workers.Wait()
	close(stop)
	reloads.Wait()
	pool := b.p.onlyServer().pool
	until(t, "all requests have ended", func() bool {
		_, _, inFlight, _ := pool.usage()
		_, _, calls := pool.h2.counts()
		m := b.p.Metrics()
		return inFlight == 0 && calls == 0 && m.InFlight == 0 && m.HTTP2Streams == 0
	})
	if held := b.p.held.Load(); held != 0 {
		t.Errorf("%d bytes are still counted", held)
	}
}

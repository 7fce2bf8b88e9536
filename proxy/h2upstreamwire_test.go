package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// This file has tests with servers that write HTTP/2 frame by frame.

// h2Server is the server side of a connection, frame by frame.
type h2Server struct {
	conn  net.Conn
	f     *xhttp2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	n     int // of this connection
}

// rawH2 accepts connections and hands each to serve once it has read the preface and sent the given settings.
func rawH2(t *testing.T, serve func(s *h2Server), settings ...xhttp2.Setting) string {
	t.Helper()
	var conns atomic.Int32
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		preface := make([]byte, len(xhttp2.ClientPreface))
		if _, err := io.ReadFull(br, preface); err != nil || string(preface) != xhttp2.ClientPreface {
			return
		}
		s := &h2Server{conn: conn, f: xhttp2.NewFramer(conn, br), n: int(conns.Add(1))}
		s.f.AllowIllegalWrites = true
		s.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		s.enc = hpack.NewEncoder(&s.block)
		_ = s.f.WriteSettings(settings...)
		serve(s)
	})
	return "h2c" + strings.TrimPrefix(url, "http")
}

// next returns the next frame, or nil if the connection has ended. It acknowledges SETTINGS and PING.
func (s *h2Server) next() xhttp2.Frame {
	for {
		f, err := s.f.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *xhttp2.SettingsFrame:
			if !f.IsAck() {
				_ = s.f.WriteSettingsAck()
			}
			continue
		case *xhttp2.PingFrame:
			_ = s.f.WritePing(true, f.Data)
			continue
		}
		return f
	}
}

func (s *h2Server) headers(id uint32, end bool, pairs ...string) {
	s.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = s.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	_ = s.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: s.block.Bytes(), EndStream: end, EndHeaders: true})
}

// If a server sends GOAWAY under load, no request is lost: those that it has not processed are sent again, whatever their method.
func TestHTTP2UpstreamGoAway(t *testing.T) {
	const perConn = 20
	var served atomic.Int64
	b := start(t, rawH2(t, func(s *h2Server) {
		said := false
		for {
			f := s.next()
			if f == nil {
				return
			}
			id := f.Header().StreamID
			if said && id > 2*perConn-1 {
				continue // not processed
			}
			if _, ok := f.(*xhttp2.MetaHeadersFrame); ok && id == 2*perConn-1 {
				said = true
				_ = s.f.WriteGoAway(id, xhttp2.ErrCodeNo, nil)
			}
			end := false
			switch f := f.(type) {
			case *xhttp2.MetaHeadersFrame:
				end = f.StreamEnded()
			case *xhttp2.DataFrame:
				end = f.StreamEnded()
			}
			if end {
				served.Add(1)
				s.headers(id, true, ":status", "200")
			}
		}
	}), nil)
	const workers, each = 16, 40
	var wg sync.WaitGroup
	c := b.h2()
	for i := range workers {
		wg.Go(func() {
			for range each {
				r, _ := http.NewRequest("POST", "http://"+b.addr, struct{ io.Reader }{strings.NewReader("a body")})
				if i%2 == 0 {
					r.ContentLength = 6
				}
				resp, err := c.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.ReadAll(resp.Body)
				if resp.StatusCode != 200 {
					t.Error(resp.Status)
				}
			}
		})
	}
	wg.Wait()
	b.responses = workers * each
	if n := served.Load(); n != workers*each {
		t.Errorf("the server has processed %d requests, want %d", n, workers*each)
	}
	again := 0
	for _, e := range b.books.wait(t, workers*each) {
		if e.Attempts > 1 {
			again++
		}
	}
	t.Logf("%d requests were sent more than once", again)
	if t.Failed() {
		t.Log(b.log.String())
	}
}

// A refused request is sent to another server, or to the same one if there is no other. Its record shows how often it was sent.
func TestHTTP2UpstreamRefusedStream(t *testing.T) {
	refusing := func(times int) string {
		var refused atomic.Int64
		return rawH2(t, func(s *h2Server) {
			for {
				f := s.next()
				if f == nil {
					return
				}
				h, ok := f.(*xhttp2.MetaHeadersFrame)
				if !ok {
					continue
				}
				if h.PseudoValue("path") == "/warm" || refused.Add(1) > int64(times) {
					s.headers(h.StreamID, true, ":status", "200")
				} else {
					_ = s.f.WriteRSTStream(h.StreamID, xhttp2.ErrCodeRefusedStream)
				}
			}
		})
	}
	for name, test := range map[string]struct {
		servers  []string
		warm     bool
		attempts uint8
		status   int
	}{
		"another server":  {[]string{refusing(1 << 30), refusing(0)}, false, 2, 200},
		"the same server": {[]string{refusing(2)}, true, 3, 200},
		"always":          {[]string{refusing(1 << 30)}, true, 4, 502},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, "", func(o *Options) {
				o.Groups = []Group{{}}
				for _, url := range test.servers {
					o.Groups[0].Servers = append(o.Groups[0].Servers, Server{URL: url})
				}
			})
			c := b.h2()
			if b.responses = 1; test.warm {
				b.responses++
				resp, err := c.Get("http://" + b.addr + "/warm")
				if err != nil || resp.StatusCode != 200 {
					t.Fatal(resp, err)
				}
				b.books.wait(t, 1)
			}
			resp, err := c.Post("http://"+b.addr, "text/plain", struct{ io.Reader }{strings.NewReader("a body of unknown length")})
			if err != nil || resp.StatusCode != test.status {
				t.Fatal(resp, err)
			}
			_, _ = io.ReadAll(resp.Body)
			if e := b.books.wait(t, b.responses)[b.responses-1]; e.Attempts != test.attempts {
				t.Errorf("%+v", e)
			}
		})
	}
}

// There are never more streams than the server allows, nor more connections than conns_max.
func TestHTTP2UpstreamLimits(t *testing.T) {
	const streams, conns = 3, 2
	var broken, most atomic.Int64
	release := make(chan struct{})
	b := start(t, "", func(o *Options) {
		o.MaxConnWait = 30 * time.Second
		o.Groups = []Group{{ConnsMax: conns, Servers: []Server{{URL: rawH2(t, func(s *h2Server) {
			if s.n > conns {
				broken.Add(1)
			}
			var mu sync.Mutex // of s and open
			open := 0
			for {
				f := s.next()
				if f == nil {
					return
				}
				if h, ok := f.(*xhttp2.MetaHeadersFrame); ok {
					mu.Lock()
					if open++; open > streams {
						broken.Add(1)
					}
					most.Store(max(most.Load(), int64(open)))
					mu.Unlock()
					go func(id uint32) {
						<-release
						mu.Lock()
						open--
						s.headers(id, true, ":status", "200")
						mu.Unlock()
					}(h.StreamID)
				}
			}
		}, xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: streams})}}}}
	})
	const requests = 20
	var wg sync.WaitGroup
	c := b.h2()
	for range requests {
		wg.Go(func() {
			resp, err := c.Get("http://" + b.addr)
			if err != nil || resp.StatusCode != 200 {
				t.Error(resp, err)
			}
		})
	}
	until(t, "all streams are used", func() bool { return most.Load() == streams })
	close(release)
	wg.Wait()
	if b.responses = requests; broken.Load() > 0 {
		t.Errorf("the limits were exceeded %d times", broken.Load())
	}
}

// A silent server is sent a PING. If it does not respond, its requests fail, and later ones use another connection.
func TestHTTP2UpstreamPing(t *testing.T) {
	got := make(chan *h2Server, 8)
	b := start(t, rawH2(t, func(s *h2Server) {
		for {
			f, err := s.f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := f.(*xhttp2.MetaHeadersFrame); ok {
				if s.n == 2 || h.PseudoValue("path") == "/warm" {
					s.headers(f.Header().StreamID, true, ":status", "200")
				}
				got <- s
			}
		}
	}), func(o *Options) { o.Driver = DriverGoroutine })
	links := b.p.onlyServer().pool.h2
	links.mu.Lock()
	links.pause, links.patience = 50*time.Millisecond, 50*time.Millisecond
	links.mu.Unlock()
	b.responses = 2
	for _, path := range []string{"/warm", "/"} { // a GET is sent again
		if resp, _ := b.dial().get(path); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	}
	for i, want := range []int{1, 1, 2} {
		if s := <-got; s.n != want {
			t.Errorf("request %d came over connection %d, want %d", i, s.n, want)
		}
	}
	if e := b.books.wait(t, 2)[1]; e.Attempts != 2 {
		t.Errorf("%+v", e)
	}
}

// If a stream fails, the response and the record are the same as if an HTTP/1.1 connection had failed.
func TestHTTP2UpstreamFailures(t *testing.T) {
	for name, test := range map[string]struct {
		serve  func(s *h2Server, id uint32)
		status int
		kind   string
		cut    bool
	}{
		"reset":       {func(s *h2Server, id uint32) { _ = s.f.WriteRSTStream(id, xhttp2.ErrCodeInternal) }, 502, "connection_reset", false},
		"malformed":   {func(s *h2Server, id uint32) { s.headers(id, true, "a", "b") }, 502, "protocol_error", false},
		"header size": {func(s *h2Server, id uint32) { s.headers(id, true, ":status", "200", "a", strings.Repeat("b", 20000)) }, 502, "response_header_too_large", false},
		"goaway":      {func(s *h2Server, _ uint32) { _ = s.f.WriteGoAway(0, xhttp2.ErrCodeNo, nil) }, 502, "connection_reset", false},
		"protocol":    {func(s *h2Server, _ uint32) { _ = s.f.WriteRSTStream(0, xhttp2.ErrCodeNo) }, 502, "connection_reset", false},
		"closed":      {func(s *h2Server, _ uint32) { _ = s.conn.Close() }, 502, "connection_reset", false},
		"reset in body": {func(s *h2Server, id uint32) {
			s.headers(id, false, ":status", "200")
			_ = s.f.WriteData(id, false, []byte("abc"))
			_ = s.f.WriteRSTStream(id, xhttp2.ErrCodeInternal)
		}, 200, "upstream_truncated", true},
		"closed in body": {func(s *h2Server, id uint32) {
			s.headers(id, false, ":status", "200")
			_ = s.f.WriteData(id, false, []byte("abc"))
			_ = s.conn.Close()
		}, 200, "upstream_truncated", true},
		"too short": {func(s *h2Server, id uint32) {
			s.headers(id, false, ":status", "200", "content-length", "70000")
			_ = s.f.WriteData(id, true, []byte("abc"))
		}, 200, "upstream_truncated", true},
		"silent": {func(*h2Server, uint32) {}, 504, "timeout", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, rawH2(t, func(s *h2Server) {
				for {
					f := s.next()
					if f == nil {
						return
					}
					if h, ok := f.(*xhttp2.MetaHeadersFrame); ok {
						test.serve(s, h.StreamID)
					}
				}
			}), func(o *Options) {
				if name == "silent" {
					o.ResponseTimeout = 200 * time.Millisecond
				}
			})
			b.responses = 1
			resp, err := b.h2().Post("http://"+b.addr, "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); (err != nil) != test.cut || resp.StatusCode != test.status {
				t.Error(resp.Status, err)
			}
			if e := b.books.wait(t, 1)[0]; string(e.ErrorType) != test.kind || e.Status != uint16(test.status) {
				t.Errorf("%+v", e)
			}
		})
	}
}

// If the server resets the stream of a GET, the request is not sent to that server again.
func TestHTTP2UpstreamResetIsFinal(t *testing.T) {
	var requests atomic.Int32
	b := start(t, originH2(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/reset" {
			requests.Add(1)
			panic(http.ErrAbortHandler)
		}
	}), nil)
	b.responses = 2
	for _, path := range []string{"/", "/reset"} { // the second request uses the connection of the first
		want := map[string]int{"/": 200, "/reset": 502}[path]
		if resp, _ := b.dial().get(path); resp.StatusCode != want {
			t.Error(path, resp.Status)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("the request was sent %d times", n)
	}
}

// A server may respond before it has the whole body, and then refuse the rest (RFC 9113, section 8.1).
func TestHTTP2UpstreamEarlyResponse(t *testing.T) {
	b := start(t, rawH2(t, func(s *h2Server) {
		for {
			f := s.next()
			if f == nil {
				return
			}
			if h, ok := f.(*xhttp2.MetaHeadersFrame); ok {
				s.headers(h.StreamID, false, ":status", "413")
				_ = s.f.WriteData(h.StreamID, true, []byte("too large"))
				_ = s.f.WriteRSTStream(h.StreamID, xhttp2.ErrCodeNo)
			}
		}
	}), nil)
	b.responses = 2
	c := b.h2()
	for range 2 {
		resp, err := c.Post("http://"+b.addr, "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); resp.StatusCode != 413 || string(body) != "too large" {
			t.Error(resp.Status, string(body), err)
		}
	}
	until(t, "the requests have ended", func() bool { return b.p.Metrics().UpstreamIdle == 1 })
	if n := b.p.Metrics().UpstreamConns; n != 1 {
		t.Errorf("%d connections", n)
	}
}

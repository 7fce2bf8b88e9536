package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func TestBigBodiesInConstantMemory(t *testing.T) {
	const size = 96 << 20
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if n != size && n != 0 {
			w.WriteHeader(400)
			return
		}
		if r.URL.Path == "/fixed" {
			w.Header().Set("Content-Length", "100663296")
		}
		_, _ = io.CopyN(w, zeros{}, size)
	})
	b := start(t, url, nil)
	b.responses = 4
	before := heapInUse()
	peak := int64(0)
	tr := &http.Transport{TLSClientConfig: testCertificates(t).client}
	defer tr.CloseIdleConnections()
	for _, path := range []string{"/fixed", "/chunked"} {
		resp, err := (&http.Client{Transport: tr}).Get(b.proto() + "://" + b.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.CopyN(io.Discard, resp.Body, size/2)
		peak = max(peak, heapInUse())
		m, err2 := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if n+m != size || err != nil || err2 != nil {
			t.Errorf("%s: %d %v %v", path, n+m, err, err2)
		}
	}
	for _, length := range []int64{size, -1} {
		req, _ := http.NewRequest(http.MethodPut, b.proto()+"://"+b.addr+"/fixed", io.LimitReader(zeros{}, size))
		req.ContentLength = length
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		peak = max(peak, heapInUse())
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil || resp.StatusCode != 200 {
			t.Errorf("up: %d %v %s", n, err, resp.Status)
		}
		_ = resp.Body.Close()
	}
	if peak-before > 8<<20 {
		t.Errorf("heap grew by %d bytes", peak-before)
	}
	for i, e := range b.books.wait(t, 4) {
		if e.ResponseBytes != size || i >= 2 && e.RequestBytes != size || e.Kind != event.KindRequest {
			t.Errorf("%+v", e)
		}
	}
}

func TestEventStream(t *testing.T) {
	next := make(chan string)
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.(http.Flusher).Flush()
		for s := range next {
			_, _ = io.WriteString(w, s)
			w.(http.Flusher).Flush()
		}
	})
	b := start(t, url, nil)
	b.responses = 1
	tr := &http.Transport{TLSClientConfig: testCertificates(t).client}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(b.proto() + "://" + b.addr + "/events")
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(resp.Body)
	for _, s := range []string{"data: 1\n", "data: 2\n", "data: 3\n"} {
		next <- s
		if line, err := br.ReadString('\n'); line != s || err != nil {
			t.Fatal(line, err)
		}
		if len(b.books.all()) != 0 {
			t.Fatal("recorded before its end")
		}
	}
	close(next)
	if rest, err := io.ReadAll(br); err != nil || len(rest) != 0 {
		t.Error(rest, err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	e := b.books.wait(t, 1)[0]
	if e.Kind != event.KindStream || e.ResponseBytes != 24 || e.Status != 200 || e.TTFBMicros > e.DurationMicros {
		t.Errorf("%+v", e)
	}
}

// TestSlowDownloadIsNotHeldBack: even a body with a declared length is relayed at once, not only when a buffer is full.
func TestSlowDownloadIsNotHeldBack(t *testing.T) {
	more := make(chan struct{})
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-more
		_, _ = io.CopyN(w, zeros{}, 100000-5)
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "first" {
		t.Fatal(err, buf)
	}
	close(more)
	if n, err := io.Copy(io.Discard, resp.Body); n != 100000-5 || err != nil {
		t.Error(n, err)
	}
	_ = resp.Body.Close()
}

func TestClientLeaves(t *testing.T) {
	gone := make(chan struct{}, 2)
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fixed" {
			w.Header().Set("Content-Length", "1000000000")
		}
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				gone <- struct{}{}
				return
			}
		}
	})
	b := start(t, url, nil)
	b.responses = 2
	for _, path := range []string{"/fixed", "/chunked"} {
		c := b.dial()
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := io.CopyN(io.Discard, c.br, 1<<20); err != nil {
			t.Fatal(err)
		}
		_ = c.conn.Close()
		<-gone
	}
	for _, e := range b.books.wait(t, 2) {
		if e.Status != 499 || string(e.ErrorType) != "client_closed" || e.ResponseBytes < 1<<20-1<<16 {
			t.Errorf("%+v", e)
		}
	}
}

func TestClientLeavesWithinRequestBody(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	b := start(t, url, nil)
	b.responses = 3
	for _, header := range []string{"Content-Length: 30000", "Content-Length: 3000000", "Transfer-Encoding: chunked"} {
		c := b.dial()
		body := strings.Repeat("x", 10000)
		if header[0] == 'T' {
			body = "4000\r\n" + body
		}
		c.send("POST / HTTP/1.1\r\nHost: a\r\n" + header + "\r\n\r\n" + body)
		_ = c.tcp().CloseWrite()
		_, _ = io.Copy(io.Discard, c.br)
	}
	for _, e := range b.books.wait(t, 3) {
		if e.Status != 499 || string(e.ErrorType) != "client_closed" || e.ResponseBytes != 0 {
			t.Errorf("%+v", e)
		}
	}
}

func TestUpstreamTruncates(t *testing.T) {
	for name, c := range map[string]struct {
		response string
		status   uint16
		kind     string
	}{
		"nothing":       {"", 502, "connection_reset"},
		"status line":   {"HTTP/1.1 2", 502, "upstream_truncated"},
		"header":        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", 502, "upstream_truncated"},
		"large header":  {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20<<10), 502, "upstream_truncated"},
		"interim":       {"HTTP/1.1 103 Early Hints\r\nX: 1", 502, "upstream_truncated"},
		"buffered":      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 502, "upstream_truncated"},
		"fixed":         {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc", 200, "upstream_truncated"},
		"chunked":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 200, "upstream_truncated"},
		"last chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", 200, "upstream_truncated"},
		"bad chunk":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n+3\r\nabc\r\n0\r\n\r\n", 200, "protocol_error"},
		"chunk too big": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 200, "protocol_error"},
	} {
		t.Run(name, func(t *testing.T) {
			url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
				readRequest(br)
				_, _ = io.WriteString(conn, c.response)
			})
			b := start(t, url, func(o *Options) { o.MaxResponseHeaderBytes = 64 << 10 })
			b.responses = 1
			cl := b.dial()
			cl.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(cl.br, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(resp.Body)
			if resp.StatusCode != int(c.status) || (c.status == 200) != errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(resp.Status, err)
			}
			_ = resp.Body.Close()
			e := b.books.wait(t, 1)[0]
			if e.Status != c.status || string(e.ErrorType) != c.kind {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestTruncatedForHTTP10IsReset(t *testing.T) {
	url := rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc")
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("GET / HTTP/1.0\r\n\r\n")
	if _, err := io.ReadAll(c.br); err == nil {
		t.Error("the client cannot tell that the body is cut short")
	}
}

func TestShutdownUnderLoad(t *testing.T) {
	entered := make(chan struct{}, 8)
	release := make(chan struct{})
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "late")
	})
	b := start(t, url, nil)
	b.responses = 8
	var clients []*client
	for range 8 {
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		clients = append(clients, c)
		<-entered
	}
	idle := b.dial()
	done := make(chan error, 1)
	go func() { done <- b.p.Shutdown(context.Background()) }()
	for { // wait until the listener has been closed, which happens first
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(release)
	for _, c := range clients {
		if resp, body := c.receive("GET"); body != "late" || !resp.Close {
			t.Error(resp, body)
		}
	}
	_ = idle.conn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsAtItsDeadline(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := http.ReadResponse(c.br, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := b.p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if len(b.books.all()) != 1 {
		t.Error("the cut stream is not recorded")
	}
}

package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/httpcorpus"
)

// The fuzz targets in this file feed whole connections to a running proxy: requests or responses with their bodies. They compare the result with what
// net/http reads from the same bytes.

// wire is a connection without a network. It reads from a given input and records the bytes that are written.
type wire struct {
	net.Conn // nil
	in       *bytes.Reader
	mu       sync.Mutex
	out      bytes.Buffer // guarded by mu
	closed   chan struct{}
	once     sync.Once
}

func newWire(in []byte) *wire { return &wire{in: bytes.NewReader(in), closed: make(chan struct{})} }

func (w *wire) Read(b []byte) (int, error) { return w.in.Read(b) }

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}

func (w *wire) written() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.out.Bytes())
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// streamProxy returns a proxy that connects to its upstream with dial.
func streamProxy(f *testing.F, dial func() net.Conn) *Proxy {
	p, err := New(Options{Upstream: "http://127.0.0.1:1", HTTP2: HTTP2Options{Off: true}, Recorder: newBooks(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	p.onlyServer().pool.target.dial = func(context.Context) (net.Conn, error) { return dial(), nil }
	return p
}

// serveWire lets p serve one client connection until its end. It returns the bytes sent to the client and the events.
func serveWire(p *Proxy, in []byte) (c *clientConn, out []byte, events []event.Event) {
	b := newBooks()
	p.current.Load().o.Recorder = b
	w := newWire(in)
	c = newClientConn(p.current.Load(), w, goroutines{}, listenerPlain)
	c.withReader(c.serve)
	p.onlyServer().pool.discardIdle(func(*upstreamConn) bool { return true })
	return c, w.written(), b.all()
}

// seen is a request that net/http has read completely.
type seen struct{ method, uri, body string }

func readSeen(br *bufio.Reader, head func(*http.Request)) (seen, error) {
	req, err := http.ReadRequest(br)
	if err != nil {
		return seen{}, err
	}
	head(req)
	body, err := io.ReadAll(req.Body)
	return seen{req.Method, req.RequestURI, string(body)}, err
}

// witness is an origin that records the requests that it has read completely.
type witness struct {
	wg  sync.WaitGroup
	mu  sync.Mutex
	all []seen // guarded by mu
}

func (o *witness) dial() net.Conn {
	near, far := net.Pipe()
	o.wg.Go(func() {
		defer func() { _ = far.Close() }()
		br := bufio.NewReader(far)
		for {
			got, err := readSeen(br, func(r *http.Request) {
				if r.Header.Get("Expect") != "" {
					_, _ = io.WriteString(far, "HTTP/1.1 100 Continue\r\n\r\n")
				}
			})
			if err != nil {
				return
			}
			o.mu.Lock()
			o.all = append(o.all, got)
			o.mu.Unlock()
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
			if got.method != http.MethodHead {
				answer += "ok"
			}
			if _, err := io.WriteString(far, answer); err != nil {
				return
			}
		}
	})
	return near
}

// take waits until the origin's connections have been closed, and returns its requests.
func (o *witness) take() []seen {
	o.wg.Wait()
	all := o.all
	o.all = nil
	return all
}

// FuzzClientStream sends arbitrary bytes as a client. Each request that reaches the origin must be one that net/http finds in these bytes, too, in the
// same order and with the same body. Each response must be recorded once.
func FuzzClientStream(f *testing.F) {
	for _, r := range httpcorpus.Requests() {
		f.Add([]byte(r.Raw + httpcorpus.Smuggled))
	}
	f.Add([]byte("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabcHEAD http://a HTTP/1.0\r\n\r\n"))
	var o witness
	p := streamProxy(f, o.dial)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, out, events := serveWire(p, data)
		arrived := o.take()
		checkAnswers(t, data, out, events)
		br := bufio.NewReader(bytes.NewReader(data))
		for _, got := range arrived {
			if b, _ := br.Peek(2); string(b) == "\r\n" {
				_, _ = br.Discard(2) // net/http does not know RFC 9112, section 2.2
			}
			want, err := readSeen(br, func(*http.Request) {})
			if err != nil && (strings.Contains(err.Error(), "parse ") || onlyHere.Match(data)) {
				return // net/http has its own rules for URLs; for chunked bodies see FuzzChunkedBody
			}
			if err != nil || got.method != want.method || got.body != want.body ||
				got.uri != want.uri && !strings.HasSuffix(want.uri, got.uri) && !strings.HasPrefix(strings.ToLower(want.uri), "http://") {
				t.Fatalf("%q: %q arrived, net/http reads %q %v", data, got, want, err)
			}
		}
	})
}

// checkAnswers checks that the client received as many responses as there are events, with the same status.
func checkAnswers(t *testing.T, data, out []byte, events []event.Event) {
	br := bufio.NewReader(bytes.NewReader(out))
	for _, e := range events {
		resp, err := readFinal(br, string(e.Method))
		if err != nil {
			t.Fatalf("%q: answered %q: %v", data, out, err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if len(e.Method) == 0 && bytes.Contains(data, []byte("HEAD")) && errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil // a request that begins with HEAD is refused without a body, although it has no valid method
		}
		if err != nil || resp.StatusCode != int(e.Status) && e.Status != statusClientClosed {
			t.Fatalf("%q: answered %q %v, recorded %d", data, out, err, e.Status)
		}
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Fatalf("%q: answered %q without a record", data, rest)
	}
}

// readFinal reads a response and skips the 1xx responses before it.
func readFinal(br *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}

// FuzzUpstreamStream sends arbitrary bytes as an upstream. The response to the client must be well formed. If it looks complete, net/http must find the
// same status and a complete, identical body in the upstream's bytes.
func FuzzUpstreamStream(f *testing.F) {
	for i, r := range httpcorpus.Responses() {
		f.Add(uint8(i%3), []byte(r.Raw))
	}
	f.Add(uint8(0), []byte("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n"))
	f.Add(uint8(2), []byte("HTTP/1.0 200 OK\r\n\r\nuntil close"))
	requests := [...]string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"}
	var answer []byte
	p := streamProxy(f, func() net.Conn { return newWire(answer) })
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		answer = data
		request := requests[int(kind)%len(requests)]
		method, _, _ := strings.Cut(request, " ")
		c, out, events := serveWire(p, []byte(request))
		if len(events) != 1 {
			t.Fatalf("%q: %d events", data, len(events))
		}
		resp, err := readFinal(bufio.NewReader(bytes.NewReader(out)), method)
		if err != nil {
			t.Fatalf("%q: the client got %q: %v", data, out, err)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode == 502 && len(events[0].ErrorType) > 0 || c.reset {
			return
		}
		if (err != nil) != (len(events[0].ErrorType) > 0) {
			t.Fatalf("%q: the client got %q %v, recorded %s", data, out, err, events[0].ErrorType)
		}
		want, wantErr := readFinal(bufio.NewReader(bytes.NewReader(data)), method)
		if wantErr != nil || want.StatusCode != resp.StatusCode {
			t.Fatalf("%q: the client got %q, net/http reads %v", data, out, wantErr)
		}
		wantBody, wantErr := io.ReadAll(want.Body)
		if wantErr != nil && onlyHere.Match(data) {
			return
		}
		if err == nil && (wantErr != nil || !bytes.Equal(body, wantBody)) {
			t.Fatalf("%q: the client got %q, net/http reads %q %v", data, body, wantBody, wantErr)
		}
	})
}

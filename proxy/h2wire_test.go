package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Client writes and reads single frames.
type h2Client struct {
	*client
	f     *xhttp2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func (b *bench) dialH2() *h2Client {
	b.t.Helper()
	c := &h2Client{client: b.dialALPN()}
	c.f = xhttp2.NewFramer(c.conn, c.br)
	c.f.AllowIllegalWrites = true
	c.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	c.send(xhttp2.ClientPreface)
	c.ok(c.f.WriteSettings())
	return c
}

func (c *h2Client) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *h2Client) request(id uint32, end bool, method, path string, more ...string) {
	c.t.Helper()
	c.block.Reset()
	fields := append([]string{":method", method, ":scheme", "http", ":path", path, ":authority", "a"}, more...)
	for i := 0; i < len(fields); i += 2 {
		c.ok(c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	c.ok(c.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: end, EndHeaders: true}))
}

// next returns the next frame of this type. It acknowledges nothing.
func (c *h2Client) next(kind xhttp2.FrameType) xhttp2.Frame {
	c.t.Helper()
	for {
		f, err := c.f.ReadFrame()
		if err != nil {
			c.t.Fatalf("waiting for %v: %v", kind, err)
		}
		if f.Header().Type == kind {
			return f
		}
	}
}

// response returns the status of a response and its body.
func (c *h2Client) response(id uint32) (status, body string) {
	c.t.Helper()
	for {
		f, err := c.f.ReadFrame()
		c.ok(err)
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *xhttp2.MetaHeadersFrame:
			if status == "" {
				status = f.PseudoValue("status")
			}
			if f.StreamEnded() {
				return status, body
			}
		case *xhttp2.DataFrame:
			if body += string(f.Data()); f.StreamEnded() {
				return status, body
			}
		case *xhttp2.RSTStreamFrame:
			return status, body + " " + f.ErrCode.String()
		}
	}
}

// eof waits until the proxy has closed the connection.
func (c *h2Client) eof() {
	c.t.Helper()
	for {
		_, err := c.f.ReadFrame()
		if err != nil && isTimeout(err) {
			c.t.Fatal("the connection is still open")
		}
		if err != nil {
			return
		}
	}
}

func TestHTTP2Malformed(t *testing.T) {
	b := start(t, "http://127.0.0.1:1", nil)
	b.responses = 3
	c := b.dialH2()
	c.request(1, true, "GET", "/a", "connection", "close")
	if status, _ := c.response(1); status != "400" {
		t.Error(status)
	}
	if f := c.next(xhttp2.FrameRSTStream).(*xhttp2.RSTStreamFrame); f.ErrCode != xhttp2.ErrCodeProtocol || f.StreamID != 1 {
		t.Error(f)
	}
	c.request(3, true, "GET", "/a", "big", strings.Repeat("x", 33<<10)[:10000], "big2", strings.Repeat("x", 3000))
	if status, _ := c.response(3); status != "502" {
		t.Error(status)
	}
	c.request(5, true, "CONNECT", "/a")
	if status, _ := c.response(5); status != "400" {
		t.Error(status)
	}
	events := b.books.wait(t, 3)
	if e := events[0]; e.Status != 400 || string(e.ErrorType) != "bad_request" || string(e.Path) != "/a" || string(e.Method) != "GET" || string(e.Protocol) != "2" {
		t.Errorf("%+v", e)
	}
}

// TestHTTP2ConnectionError: a client that violates the rules for frames gets GOAWAY, and the connection ends.
func TestHTTP2ConnectionError(t *testing.T) {
	b := start(t, "http://127.0.0.1:1", nil)
	b.responses = 0
	c := b.dialH2()
	c.ok(c.f.WriteData(1, true, []byte("x")))
	if f := c.next(xhttp2.FrameGoAway).(*xhttp2.GoAwayFrame); f.ErrCode != xhttp2.ErrCodeProtocol {
		t.Error(f)
	}
	c.eof()
}

// TestHTTP2Reset: a reset ends the request to the service, and is recorded like a client that has left.
func TestHTTP2Reset(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			_, _ = io.WriteString(w, "next")
			return
		}
		close(entered)
		<-r.Context().Done()
		close(left)
	}), nil)
	b.responses = 2
	c := b.dialH2()
	c.request(1, true, "GET", "/slow")
	<-entered
	c.ok(c.f.WriteRSTStream(1, xhttp2.ErrCodeCancel))
	<-left
	e := b.books.wait(t, 1)[0]
	if e.Status != 499 || string(e.ErrorType) != "client_closed" || string(e.Path) != "/slow" {
		t.Errorf("%+v", e)
	}
	c.request(3, true, "GET", "/next")
	if status, body := c.response(3); status != "200" || body != "next" {
		t.Error(status, body)
	}
}

// TestHTTP2ConnectionLost: if the connection ends, so do all its requests.
func TestHTTP2ConnectionLost(t *testing.T) {
	entered := make(chan struct{}, 3)
	b := start(t, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	}), nil)
	b.responses = 3
	c := b.dialH2()
	for id := uint32(1); id <= 5; id += 2 {
		c.request(id, true, "GET", "/slow")
		<-entered
	}
	_ = c.conn.Close()
	for _, e := range b.books.wait(t, 3) {
		if e.Status != 499 || string(e.ErrorType) != "client_closed" {
			t.Errorf("%+v", e)
		}
	}
}

// TestHTTP2WindowNeverOpened: a client that never opens its window loses the stream, not the connection.
func TestHTTP2WindowNeverOpened(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), func(o *Options) { o.WriteTimeout = 50 * time.Millisecond })
	b.responses = 2
	c := b.dialH2()
	c.ok(c.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 0}))
	c.request(1, true, "GET", "/")
	if status, body := c.response(1); status != "200" || body != " CANCEL" {
		t.Error(status, body)
	}
	c.ok(c.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 100}))
	c.request(3, true, "GET", "/")
	if status, body := c.response(3); status != "200" || body != "hello" {
		t.Error(status, body)
	}
}

// TestHTTP2SendWindow: responses wait for the windows, and continue when they open.
func TestHTTP2SendWindow(t *testing.T) {
	body := strings.Repeat("0123456789", 30000)
	b := start(t, origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }), nil)
	b.responses = 1
	c := b.dialH2()
	c.request(1, true, "GET", "/")
	got, credit := "", 65535
	for len(got) < len(body) {
		f := c.next(xhttp2.FrameData).(*xhttp2.DataFrame)
		got += string(f.Data())
		if credit -= len(f.Data()); credit < 0 {
			t.Fatal("sent more than the window allows")
		}
		if credit == 0 {
			c.ok(c.f.WriteWindowUpdate(0, 10001))
			c.ok(c.f.WriteWindowUpdate(1, 10001))
			credit = 10001
		}
	}
	if got != body {
		t.Error("another body")
	}
}

// TestHTTP2WrongLength: if a client sends more than it declared, or less, its request counts as broken off.
func TestHTTP2WrongLength(t *testing.T) {
	b := start(t, origin(t, echoRequest), nil)
	b.responses = 1
	c := b.dialH2()
	c.request(1, false, "POST", "/", "content-length", "3")
	c.ok(c.f.WriteData(1, true, []byte("hello")))
	if status, body := c.response(1); status != "" || body != " PROTOCOL_ERROR" {
		t.Error(status, body)
	}
	if e := b.books.wait(t, 1)[0]; e.Status != 499 || string(e.Protocol) != "2" {
		t.Errorf("%+v", e)
	}
}

// TestHTTP2PrefaceInPieces: the preface is recognized wherever it is split, and other requests are not delayed by that.
func TestHTTP2PrefaceInPieces(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), nil)
	b.responses = 3
	c := &h2Client{client: b.dialALPN()}
	_ = c.tcp().SetNoDelay(true)
	c.f = xhttp2.NewFramer(c.conn, c.br)
	c.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	for i := range len(xhttp2.ClientPreface) {
		c.send(xhttp2.ClientPreface[i : i+1])
	}
	c.ok(c.f.WriteSettings())
	c.request(1, true, "GET", "/")
	if status, body := c.response(1); status != "200" || body != "ok" {
		t.Error(status, body)
	}
	plain := b.dial()
	plain.get("/")
	plain.send("PRI * HTTP/2.0\r\n\r\n") // not the first request on the connection
	if resp, _ := plain.receive("PRI"); resp.StatusCode != 505 {
		t.Error(resp.Status)
	}
}

func TestHTTP2Off(t *testing.T) {
	b := start(t, "http://127.0.0.1:1", func(o *Options) { o.HTTP2.Off = true })
	b.responses = 1
	c := b.dial()
	c.send(xhttp2.ClientPreface)
	if resp, _ := c.receive("PRI"); resp.StatusCode != 505 {
		t.Error(resp.Status)
	}
}

// TestHTTP2Idle: an idle connection gets GOAWAY before it is closed.
func TestHTTP2Idle(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), func(o *Options) { o.IdleTimeout = time.Second })
	b.responses = 1
	c := b.dialH2()
	c.request(1, true, "GET", "/")
	c.response(1)
	if f := c.next(xhttp2.FrameGoAway).(*xhttp2.GoAwayFrame); f.ErrCode != xhttp2.ErrCodeNo || f.LastStreamID != 1 {
		t.Error(f)
	}
	c.eof()
}

// TestHTTP2PrefaceTimeout: the proxy waits for the rest of a preface no longer than for a header.
func TestHTTP2PrefaceTimeout(t *testing.T) {
	b := start(t, "http://127.0.0.1:1", func(o *Options) { o.HeaderTimeout = time.Second })
	b.responses = 0
	c := &h2Client{client: b.dialALPN()}
	c.f = xhttp2.NewFramer(c.conn, c.br)
	c.send(xhttp2.ClientPreface[:20])
	c.eof()
}

// hintAndEcho responds to a request with an interim response and the request's body.
func hintAndEcho(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Link", "</style.css>")
	w.WriteHeader(http.StatusEarlyHints)
	_, _ = io.Copy(w, r.Body)
}

// expectHint sends a request to hintAndEcho over HTTP/2 and checks both responses.
func (b *bench) expectHint() {
	b.t.Helper()
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
		return nil
	}}
	r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(b.t.Context(), trace), "POST", "http://"+b.addr, strings.NewReader("x"))
	resp, err := b.h2().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "x" || strings.Join(hints, ";") != "103 </style.css>" {
		b.t.Fatal(string(body), err, hints)
	}
}

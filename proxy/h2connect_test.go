package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file has tests of extended CONNECT (RFC 8441) with clients that write HTTP/2 frame by frame.

// webSocketOrigin responds to each request for a WebSocket with head, in which %s becomes the right Sec-WebSocket-Accept, and passes the
// connection to serve.
func webSocketOrigin(t *testing.T, head string, serve func(conn *net.TCPConn, br *bufio.Reader)) string {
	return rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		key := r.Header.Get("Sec-WebSocket-Key")
		valid := len(r.Header["Sec-Websocket-Key"]) == 1 && http1.ValidWebSocketKey([]byte(key))
		if !valid || r.Method != "GET" || r.Header.Get("Upgrade") != "websocket" {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(conn, strings.ReplaceAll(head, "%s", string(http1.AppendWebSocketAccept(nil, []byte(key)))))
		if serve != nil {
			serve(conn.(*net.TCPConn), br)
		}
	})
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n" +
	"Sec-WebSocket-Protocol: chat\r\n\r\n"

// connect sends an extended CONNECT.
func (c *h2Client) connect(id uint32, protocol, path string, more ...string) {
	c.t.Helper()
	c.request(id, false, "CONNECT", path, append([]string{":protocol", protocol}, more...)...)
}

// headers returns the next header of a response.
func (c *h2Client) headers() *xhttp2.MetaHeadersFrame {
	c.t.Helper()
	return c.next(xhttp2.FrameHeaders).(*xhttp2.MetaHeadersFrame)
}

// tunnel opens a WebSocket on the stream.
func (c *h2Client) tunnel(id uint32) {
	c.t.Helper()
	c.connect(id, "websocket", "/up?x=1")
	if f := c.headers(); f.PseudoValue("status") != "200" || f.StreamEnded() || f.StreamID != id {
		c.t.Fatal(f)
	}
}

// rest returns the data up to the end of the stream, and how it ends.
func (c *h2Client) rest(id uint32) (data, end string) {
	c.t.Helper()
	for {
		f, err := c.f.ReadFrame()
		c.ok(err)
		switch f := f.(type) {
		case *xhttp2.DataFrame:
			data += string(f.Data())
			if n := uint32(len(f.Data())); n > 0 {
				c.ok(c.f.WriteWindowUpdate(0, n))
				c.ok(c.f.WriteWindowUpdate(id, n))
			}
			if f.StreamEnded() {
				return data, "END_STREAM"
			}
		case *xhttp2.RSTStreamFrame:
			return data, f.ErrCode.String()
		}
	}
}

// TestExtendedConnect: the handshake is translated to HTTP/1.1 and back, and each side may end its direction while the other continues.
func TestExtendedConnect(t *testing.T) {
	b := start(t, webSocketOrigin(t, switching+"first ", func(conn *net.TCPConn, br *bufio.Reader) {
		all, _ := io.ReadAll(br) // until the client ends its direction
		_, _ = conn.Write(bytes.ToUpper(all))
	}), nil)
	b.responses = 1
	c := b.dialH2()
	f := c.next(xhttp2.FrameSettings).(*xhttp2.SettingsFrame)
	if value, ok := f.Value(xhttp2.SettingEnableConnectProtocol); !ok || value != 1 {
		t.Fatal(f)
	}
	c.connect(1, "websocket", "/up?x=1", "sec-websocket-key", "the client's own", "sec-websocket-version", "13")
	var got []string
	for _, field := range c.headers().Fields {
		if field.Name != "date" && field.Name != "x-request-id" {
			got = append(got, field.Name+"="+field.Value)
		}
	}
	if s := strings.Join(got, " "); s != ":status=200 sec-websocket-protocol=chat" {
		t.Error(s)
	}
	payload := strings.Repeat("some bytes. ", 4000)
	for p := payload; len(p) > 0; p = p[min(len(p), 16000):] {
		c.ok(c.f.WriteData(1, len(p) <= 16000, []byte(p[:min(len(p), 16000)])))
	}
	if data, end := c.rest(1); data != "first "+strings.ToUpper(payload) || end != "END_STREAM" {
		t.Errorf("%d bytes, %s", len(data), end)
	}
	e := b.books.wait(t, 1)[0]
	if !isWebSocket(e) || string(e.Path) != "/up" || string(e.Protocol) != "2" ||
		e.RequestBytes != uint64(len(payload)) || e.ResponseBytes != uint64(len(payload)+6) || len(e.ErrorType) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestExtendedConnectUpstreamHalfCloses: the upstream ends its direction first, and the client continues.
func TestExtendedConnectUpstreamHalfCloses(t *testing.T) {
	received := make(chan string, 1)
	b := start(t, webSocketOrigin(t, switching, func(conn *net.TCPConn, br *bufio.Reader) {
		_ = conn.CloseWrite()
		all, _ := io.ReadAll(br)
		received <- string(all)
	}), func(o *Options) { o.TunnelHalfClosedTimeout = overShare * time.Minute })
	b.responses = 1
	c := b.dialH2()
	c.tunnel(1)
	if data, end := c.rest(1); data != "" || end != "END_STREAM" {
		t.Error(data, end)
	}
	c.ok(c.f.WriteData(1, false, []byte("after ")))
	c.ok(c.f.WriteData(1, true, []byte("the end")))
	if got := <-received; got != "after the end" {
		t.Error(got)
	}
	if e := b.books.wait(t, 1)[0]; e.RequestBytes != 13 || len(e.ErrorType) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestExtendedConnectIsRefused: only a server that opens the WebSocket makes the client believe that it is open.
func TestExtendedConnectIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		head   string
		status string
		body   bool
		kind   string
	}{
		"an ordinary response":    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "502", true, "upgrade_ignored"},
		"no content":              {"HTTP/1.1 204 No Content\r\n\r\n", "502", true, "upgrade_ignored"},
		"refused":                 {"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "403", true, ""},
		"elsewhere":               {"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", "302", false, ""},
		"other version":           {"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", "426", false, ""},
		"no Sec-WebSocket-Accept": {strings.Replace(switching, "Sec-WebSocket-Accept: %s\r\n", "", 1), "502", true, "protocol_error"},
		"a wrong one":             {strings.Replace(switching, "%s", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1), "502", true, "protocol_error"},
		"other protocol":          {strings.Replace(switching, "Upgrade: websocket", "Upgrade: other", 1), "502", true, "unexpected_upgrade"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, webSocketOrigin(t, test.head, nil), nil)
			b.responses = 2
			c := b.dialH2()
			for id := uint32(1); id <= 3; id += 2 { // the connection continues
				c.connect(id, "websocket", "/up")
				if status, body := c.response(id); status != test.status || (len(body) > 0) != test.body {
					t.Errorf("%s %q", status, body)
				}
				if f := c.next(xhttp2.FrameRSTStream).(*xhttp2.RSTStreamFrame); f.ErrCode != xhttp2.ErrCodeNo || f.StreamID != id {
					t.Error(f)
				}
			}
			for _, e := range b.books.wait(t, 2) {
				if e.Kind != event.KindRequest || strconv.Itoa(int(e.Status)) != test.status || string(e.ErrorType) != test.kind || string(e.Method) != "GET" {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

// TestOtherProtocolsThanWebSocket: they are not supported, and the record says of what the client wanted.
func TestOtherProtocolsThanWebSocket(t *testing.T) {
	b := start(t, "http://127.0.0.1:1", nil)
	b.responses = 4
	c := b.dialH2()
	for i, protocol := range []string{"connect-udp", "h2c", "webtransport", ""} {
		id := uint32(2*i + 1)
		c.connect(id, protocol, "/up?x=1")
		if status, _ := c.response(id); status != "501" {
			t.Error(protocol, status)
		}
	}
	for _, e := range b.books.wait(t, 4) {
		if e.Status != 501 || string(e.ErrorType) != "not_implemented" || string(e.Method) != "CONNECT" || string(e.Path) != "/up" {
			t.Errorf("%+v", e)
		}
	}
}

// TestExtendedConnectBreaksOff: a tunnel that breaks off is reset, and its record says why.
func TestExtendedConnectBreaksOff(t *testing.T) {
	hold := func(_ *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) }
	for name, test := range map[string]struct {
		serve  func(conn *net.TCPConn, br *bufio.Reader) // nil if the upstream neither reads nor writes
		change func(*Options)
		act    func(c *h2Client)
		end    string // for the client; empty if it does not see an end
		kind   string
	}{
		"client fails":  {hold, nil, func(c *h2Client) { c.ok(c.f.WriteRSTStream(1, xhttp2.ErrCodeInternal)) }, "", "client_closed"},
		"client closes": {hold, nil, func(c *h2Client) { c.ok(c.f.WriteRSTStream(1, xhttp2.ErrCodeCancel)) }, "", ""},
		"client ends and leaves": {hold, nil, func(c *h2Client) {
			c.ok(c.f.WriteData(1, true, nil))
			_ = c.conn.Close()
		}, "", ""},
		"client closes and leaves": {hold, nil, func(c *h2Client) {
			c.ok(c.f.WriteRSTStream(1, xhttp2.ErrCodeCancel))
			_ = c.conn.Close()
		}, "", ""},
		"client closes too early": {func(conn *net.TCPConn, br *bufio.Reader) {
			_, _ = io.Copy(io.Discard, br)
			_, _ = io.WriteString(conn, "too late")
		}, nil, func(c *h2Client) { c.ok(c.f.WriteRSTStream(1, xhttp2.ErrCodeNo)) }, "", "client_closed"},
		"client leaves": {hold, nil, func(c *h2Client) { _ = c.conn.Close() }, "", "client_closed"},
		"upstream resets": {func(conn *net.TCPConn, br *bufio.Reader) {
			_, _ = br.Peek(1)
			_ = conn.SetLinger(0)
		}, nil, func(c *h2Client) { c.ok(c.f.WriteData(1, false, []byte("now"))) }, "CANCEL", "connection_reset"},
		"silence": {hold, func(o *Options) { o.TunnelTimeout = 50 * time.Millisecond }, nil, "CANCEL", "idle_timeout"},
		"silence after the client's end": {
			nil, func(o *Options) { o.TunnelHalfClosedTimeout = 50 * time.Millisecond },
			func(c *h2Client) { c.ok(c.f.WriteData(1, true, nil)) }, "CANCEL", "idle_timeout",
		},
		"silence after the upstream's end": {
			func(conn *net.TCPConn, br *bufio.Reader) { _ = conn.CloseWrite(); hold(conn, br) },
			func(o *Options) { o.TunnelHalfClosedTimeout = 50 * time.Millisecond },
			func(c *h2Client) { c.rest(1) }, "NO_ERROR", "",
		},
		"window stays closed": {
			func(conn *net.TCPConn, br *bufio.Reader) { _, _ = conn.Write(make([]byte, 1<<20)); hold(conn, br) },
			func(o *Options) { o.WriteTimeout = 50 * time.Millisecond },
			func(c *h2Client) {
				for n := 0; n < 65535; {
					n += len(c.next(xhttp2.FrameData).(*xhttp2.DataFrame).Data())
				}
			}, "CANCEL", "write_timeout",
		},
		"trailers": {hold, nil, func(c *h2Client) { c.request(1, true, "GET", "/") }, "PROTOCOL_ERROR", "client_closed"},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			if test.serve == nil {
				test.serve = func(*net.TCPConn, *bufio.Reader) { <-ended }
			}
			url := webSocketOrigin(t, switching, test.serve)
			t.Cleanup(func() { close(ended) })
			b := start(t, url, test.change)
			b.responses = 1
			c := b.dialH2()
			c.tunnel(1)
			if test.act != nil {
				test.act(c)
			}
			if test.end != "" {
				if _, end := c.rest(1); end != test.end {
					t.Error(end)
				}
			}
			if e := b.books.wait(t, 1)[0]; !isWebSocket(e) || string(e.ErrorType) != test.kind {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestClosedTunnelDelivers: the upstream receives what the client has sent before it closes the tunnel.
func TestClosedTunnelDelivers(t *testing.T) {
	received := make(chan string, 1)
	b := start(t, webSocketOrigin(t, switching, func(_ *net.TCPConn, br *bufio.Reader) {
		all, _ := io.ReadAll(br)
		received <- string(all)
	}), nil)
	b.responses = 1
	c := b.dialH2()
	c.tunnel(1)
	payload := strings.Repeat("bye", 15000)
	for p := payload; len(p) > 0; p = p[min(len(p), 15000):] {
		c.ok(c.f.WriteData(1, false, []byte(p[:min(len(p), 15000)])))
	}
	c.ok(c.f.WriteRSTStream(1, xhttp2.ErrCodeCancel))
	if got := <-received; got != payload {
		t.Errorf("%d bytes, want %d", len(got), len(payload))
	}
	if e := b.books.wait(t, 1)[0]; e.RequestBytes != uint64(len(payload)) || len(e.ErrorType) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestExtendedConnectAtShutdown: a shutdown cuts the tunnel off, and records that.
func TestExtendedConnectAtShutdown(t *testing.T) {
	b := start(t, webSocketOrigin(t, switching, func(_ *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) }), nil)
	b.responses = 1
	c := b.dialH2()
	c.tunnel(1)
	if err := b.p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, end := c.rest(1); end != "CANCEL" {
		t.Error(end)
	}
	if e := b.books.wait(t, 1)[0]; !isWebSocket(e) || string(e.ErrorType) != "shutdown" {
		t.Errorf("%+v", e)
	}
}

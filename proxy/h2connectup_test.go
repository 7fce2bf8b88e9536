package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/internal/event"
)

// This file has tests of extended CONNECT with servers that write HTTP/2 frame by frame.

var acceptsConnect = xhttp2.Setting{ID: xhttp2.SettingEnableConnectProtocol, Val: 1}

const socketRequest = "GET /up?x=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// socketAccept belongs to the key in socketRequest (RFC 6455, section 1.3).
const socketAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// shoutTunnels accepts each extended CONNECT, and sends all bytes back in upper case. It responds to other requests with their fields.
func shoutTunnels(s *h2Server) {
	for {
		switch f := s.next().(type) {
		case nil:
			return
		case *xhttp2.MetaHeadersFrame:
			all := ""
			for _, field := range f.Fields {
				all += field.Name + "=" + field.Value + " "
			}
			if f.PseudoValue("method") != "CONNECT" {
				s.headers(f.StreamID, false, ":status", "200")
				_ = s.f.WriteData(f.StreamID, true, []byte(all))
				continue
			}
			s.headers(f.StreamID, false, ":status", "200", "sec-websocket-protocol", "chat", "sec-websocket-accept", "none of its business",
				"got", strings.TrimSpace(all))
			_ = s.f.WriteData(f.StreamID, false, []byte("first "))
		case *xhttp2.DataFrame:
			if n := uint32(len(f.Data())); n > 0 {
				_ = s.f.WriteWindowUpdate(0, n)
				_ = s.f.WriteWindowUpdate(f.StreamID, n)
			}
			_ = s.f.WriteData(f.StreamID, f.StreamEnded(), bytes.ToUpper(f.Data()))
		}
	}
}

// expectConnect checks the fields that the server has received.
func expectConnect(t *testing.T, got string) {
	t.Helper()
	const want = ":method=CONNECT :protocol=websocket :scheme=http :path=/up?x=1 :authority=a "
	if !strings.HasPrefix(got, want) || strings.Contains(got, "key") || strings.Contains(got, "upgrade=") || strings.Contains(got, "connection=") ||
		strings.Contains(got, "content-length=") {
		t.Error(got)
	}
}

// TestUpgradeBecomesConnect: a WebSocket of an HTTP/1.1 client passes through a server that speaks only HTTP/2.
func TestUpgradeBecomesConnect(t *testing.T) {
	b := start(t, rawH2(t, shoutTunnels, acceptsConnect), nil)
	b.responses = 2
	payload := strings.Repeat("some bytes. ", 3000)
	for i, more := range []string{"", "Content-Length: 0\r\n"} { // on a new connection, and on an open one
		c := b.dial()
		c.send(strings.Replace(socketRequest, "Upgrade: ", more+"Upgrade: ", 1) + payload)
		_ = c.tcp().CloseWrite()
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err, b.log.String())
		}
		h := resp.Header
		if h.Get("Connection") != "Upgrade" || h.Get("Upgrade") != "websocket" || h.Get("Sec-WebSocket-Protocol") != "chat" ||
			len(h["Sec-Websocket-Accept"]) != 1 || h.Get("Sec-WebSocket-Accept") != socketAccept {
			t.Error(h)
		}
		expectConnect(t, h.Get("Got"))
		if got, err := io.ReadAll(c.br); err != nil || string(got) != "first "+strings.ToUpper(payload) {
			t.Errorf("%d bytes: %v", len(got), err)
		}
		if e := b.books.wait(t, i+1)[i]; !isWebSocket(e) || string(e.Protocol) != "1.1" || e.RequestBytes != uint64(len(payload)) ||
			e.ResponseBytes != uint64(len(payload)+6) || len(e.ErrorType) > 0 {
			t.Errorf("%+v", e)
		}
	}
}

// TestConnectRemainsConnect: between HTTP/2 on both sides, the WebSocket needs no key.
func TestConnectRemainsConnect(t *testing.T) {
	b := start(t, rawH2(t, shoutTunnels, acceptsConnect), nil)
	b.responses = 3
	c := b.dialH2()
	for id := uint32(1); id <= 5; id += 2 {
		c.connect(id, "websocket", "/up?x=1")
		f := c.headers()
		got := ""
		for _, field := range f.RegularFields() {
			if field.Name == "got" {
				got = field.Value
			}
			if field.Name == "sec-websocket-accept" || field.Name == "upgrade" {
				t.Error(field)
			}
		}
		if expectConnect(t, got); f.PseudoValue("status") != "200" {
			t.Error(f)
		}
		c.ok(c.f.WriteData(id, true, []byte("hello")))
		if data, end := c.rest(id); data != "first HELLO" || end != "END_STREAM" {
			t.Error(data, end)
		}
	}
	for _, e := range b.books.wait(t, 3) {
		if !isWebSocket(e) || e.RequestBytes != 5 || e.ResponseBytes != 11 || len(e.ErrorType) > 0 {
			t.Errorf("%+v", e)
		}
	}
}

// TestServerWithoutConnect: a server that does not accept extended CONNECT receives the request without Upgrade.
func TestServerWithoutConnect(t *testing.T) {
	b := start(t, rawH2(t, shoutTunnels), nil)
	b.responses = 3
	one := b.dial()
	one.send(socketRequest)
	resp, body := one.receive("GET")
	if resp.StatusCode != 200 || !strings.HasPrefix(body, ":method=GET") || strings.Contains(body, " upgrade=") {
		t.Error(resp.Status, body)
	}
	c := b.dialH2()
	c.connect(1, "websocket", "/up")
	if status, body := c.response(1); status != "502" || !strings.Contains(body, "WebSocket") {
		t.Error(status, body)
	}
	// A key that no server would accept is the server's business.
	bad := b.dial()
	bad.send(strings.Replace(socketRequest, "dGhl", "", 1))
	if resp, _ := bad.receive("GET"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	for i, e := range b.books.wait(t, 3) {
		if e.Kind != event.KindRequest || (e.Status == 502) != (i == 1) || (string(e.ErrorType) == "upgrade_ignored") != (i == 1) {
			t.Errorf("%+v", e)
		}
	}
}

// TestConnectThatTheServerRefuses: an ordinary response of the server reaches the client.
func TestConnectThatTheServerRefuses(t *testing.T) {
	b := start(t, rawH2(t, func(s *h2Server) {
		for {
			switch f := s.next().(type) {
			case nil:
				return
			case *xhttp2.MetaHeadersFrame:
				s.headers(f.StreamID, true, ":status", "403", "why", "because")
			}
		}
	}, acceptsConnect), nil)
	b.responses = 2
	c := b.dialH2()
	c.connect(1, "websocket", "/up")
	if status, _ := c.response(1); status != "403" {
		t.Error(status)
	}
	one := b.dial()
	one.send(socketRequest)
	resp, _ := one.receive("GET")
	if resp.StatusCode != 403 || resp.Header.Get("Why") != "because" || resp.Header.Get("Sec-WebSocket-Accept") != "" {
		t.Error(resp)
	}
	b.books.wait(t, 2)
}

// TestTunnelToServerBreaksOff: the record says which side has ended a tunnel over HTTP/2, and the other tunnels on the connection continue.
func TestTunnelToServerBreaksOff(t *testing.T) {
	for name, test := range map[string]struct {
		serve  func(s *h2Server, id uint32)
		change func(*Options)
		act    func(c *client)
		kind   string
	}{
		"server resets":  {func(s *h2Server, id uint32) { _ = s.f.WriteRSTStream(id, xhttp2.ErrCodeCancel) }, nil, nil, "connection_reset"},
		"server fails":   {func(s *h2Server, _ uint32) { _ = s.conn.Close() }, nil, nil, "connection_reset"},
		"server's final": {func(s *h2Server, id uint32) { s.headers(id, true, "sum", "1") }, nil, nil, "connection_reset"},
		"server is done": {func(s *h2Server, id uint32) {
			_ = s.f.WriteData(id, true, nil)
			_ = s.f.WriteRSTStream(id, xhttp2.ErrCodeNo)
		}, nil, func(c *client) {
			_, _ = io.Copy(io.Discard, c.br)
			c.send("bye")
		}, ""},
		"client resets": {nil, nil, func(c *client) {
			_ = c.tcp().SetLinger(0)
			_ = c.tcp().Close()
		}, "client_closed"},
		"silence": {nil, func(o *Options) { o.TunnelTimeout = 50 * time.Millisecond }, nil, "idle_timeout"},
		"half": {
			nil, func(o *Options) { o.TunnelHalfClosedTimeout = 50 * time.Millisecond },
			func(c *client) { _ = c.tcp().CloseWrite() }, "idle_timeout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			resets := make(chan xhttp2.ErrCode, 8)
			b := start(t, rawH2(t, func(s *h2Server) {
				for {
					switch f := s.next().(type) {
					case nil:
						return
					case *xhttp2.MetaHeadersFrame:
						s.headers(f.StreamID, false, ":status", "200")
						if test.serve != nil {
							test.serve(s, f.StreamID)
						}
					case *xhttp2.RSTStreamFrame:
						resets <- f.ErrCode
					}
				}
			}, acceptsConnect), test.change)
			b.responses = 1
			c := b.dial()
			c.send(socketRequest)
			if resp, err := http.ReadResponse(c.br, nil); err != nil || resp.StatusCode != 101 {
				t.Fatal(resp, err)
			}
			if test.act != nil {
				test.act(c)
			}
			if e := b.books.wait(t, 1)[0]; !isWebSocket(e) || string(e.ErrorType) != test.kind {
				t.Errorf("%+v", e)
			}
			if test.serve == nil {
				if code := <-resets; code != xhttp2.ErrCodeCancel {
					t.Error(code)
				}
			}
		})
	}
}

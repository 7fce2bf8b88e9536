package http2_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
)

// connect are the fields of a request for a WebSocket (RFC 8441, section 5.1).
var connect = []string{
	":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat?a=b", ":authority", "example.org",
	"sec-websocket-version", "13", "origin", "https://example.org",
}

const connectHead = "GET /chat?a=b HTTP/1.1\r\nsec-websocket-version: 13\r\norigin: https://example.org\r\nhost: example.org\r\n" +
	"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"

// TestSettingsAnnounceConnect: clients learn that they may send an extended CONNECT.
func TestSettingsAnnounceConnect(t *testing.T) {
	p := newSilentPeer(t, http2.Limits{})
	f, err := xhttp2.NewFramer(nil, bytes.NewReader(p.c.TakeOutput(nil))).ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if value, ok := f.(*xhttp2.SettingsFrame).Value(xhttp2.SettingEnableConnectProtocol); !ok || value != 1 {
		t.Error(f)
	}
}

func TestExtendedConnect(t *testing.T) {
	for name, test := range map[string]struct {
		fields  []string
		end     bool
		want    string
		upgrade bool
		err     error // of package http1
	}{
		"websocket":       {connect, false, connectHead, true, nil},
		"ends at once":    {connect, true, connectHead, true, nil},
		"upper case":      {replaced(connect, ":protocol", "WebSocket"), false, connectHead, true, nil},
		"key and accept":  {with(connect, "sec-websocket-key", "a", "sec-websocket-accept", "b"), false, connectHead, true, nil},
		"http":            {replaced(connect, ":scheme", "http"), false, connectHead, true, nil},
		"other protocol":  {replaced(connect, ":protocol", "connect-udp"), false, "", false, http1.ErrMethod},
		"HTTP as such":    {replaced(connect, ":protocol", "h2c"), false, "", false, http1.ErrMethod},
		"list":            {replaced(connect, ":protocol", "websocket, x"), false, "", false, http1.ErrMethod},
		"other with CRLF": {replaced(connect, ":protocol", "x\r\ny: z"), false, "", false, http1.ErrMethod},
	} {
		t.Run(name, func(t *testing.T) {
			s := requestOf(t, test.end, test.fields...)
			if s.Err != nil || s.Upgrade != test.upgrade || test.upgrade && (string(s.Head) != test.want || s.Chunked) {
				t.Fatalf("%q, upgrade %v, error %v", s.Head, s.Upgrade, s.Err)
			}
			r := http1.Request{Raw: s.Head}
			r.Length = -1
			_, err := r.Rewrite(nil, &http1.Peer{}, &http1.RequestOptions{})
			if !errors.Is(err, test.err) || r.Upgradable() != test.upgrade || r.IsWebSocket() != test.upgrade {
				t.Fatalf("error %v, upgradable %v", err, r.Upgradable())
			}
			if string(r.Path) != "/chat" {
				t.Errorf("path %q", r.Path)
			}
		})
	}
}

func TestMalformedConnect(t *testing.T) {
	for name, test := range map[string]struct {
		fields []string
		want   error
	}{
		"not CONNECT":         {replaced(connect, ":method", "GET"), http1.ErrSyntax},
		"no scheme":           {replaced(connect, ":scheme", ""), http1.ErrSyntax},
		"no path":             {replaced(connect, ":path", ""), http1.ErrSyntax},
		"scheme wss":          {replaced(connect, ":scheme", "wss"), http1.ErrSyntax},
		"protocol twice":      {with([]string{":protocol", "websocket"}, connect...), http1.ErrSyntax},
		"protocol at the end": {with(replaced(connect, ":protocol", ""), ":protocol", "websocket"), http1.ErrSyntax},
		"Host differs":        {with(connect, "host", "other"), http1.ErrSyntax},
		"a path with CRLF":    {replaced(connect, ":path", "/ HTTP/1.1\r\nx: y"), http1.ErrTarget},
		"asterisk":            {replaced(connect, ":path", "*"), http1.ErrTarget},
		"upgrade":             {with(connect, "upgrade", "websocket"), http1.ErrSyntax},
		"connection":          {with(connect, "connection", "upgrade"), http1.ErrSyntax},
		"content-length":      {with(connect, "content-length", "0"), http1.ErrFraming},
	} {
		t.Run(name, func(t *testing.T) {
			if s := requestOf(t, false, test.fields...); !errors.Is(s.Err, test.want) {
				t.Fatalf("error %v, want %v; %q", s.Err, test.want, s.Head)
			}
		})
	}
}

// tunnel returns a client whose request for a WebSocket has been accepted.
func tunnel(t *testing.T) (*peer, *http2.Stream) {
	p := newPeer(t, http2.Limits{})
	p.headers(1, false, connect...)
	p.expect(fmt.Sprintf("request 1 %q end=false err=<nil>", connectHead))
	s := p.streams[1]
	p.c.WriteHead(s, []byte("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"), false)
	p.c.WriteHead(s, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Protocol: chat\r\n\r\n"), false)
	p.expectOut("HEADERS 1 end=false :status=103 link=x", "HEADERS 1 end=false :status=200 sec-websocket-protocol=chat")
	return p, s
}

func TestTunnel(t *testing.T) {
	p, s := tunnel(t)
	p.data(1, false, "hello")
	p.data(1, true, "bye")
	p.expect(`data 1 "hello" end=false`, `data 1 "bye" end=true`)
	p.c.WriteData(s, []byte("to the client"), false)
	p.c.WriteData(s, nil, true)
	p.c.Release(s, http2.CodeInternal)
	p.expectOut("DATA 1 13 end=false", "DATA 1 0 end=true")
}

// TestTunnelBreaksOff: the client learns that a tunnel has not ended as it should. If it has everything, it is only asked to send nothing
// more.
func TestTunnelBreaksOff(t *testing.T) {
	p, s := tunnel(t)
	p.c.Release(s, http2.CodeInternal)
	p.expectOut("RST_STREAM 1 CANCEL")
	p, s = tunnel(t)
	p.c.WriteData(s, nil, true)
	p.c.Release(s, http2.CodeInternal)
	p.expectOut("DATA 1 0 end=true", "RST_STREAM 1 NO_ERROR")
	p, s = tunnel(t)
	p.ok(p.f.WriteRSTStream(1, xhttp2.ErrCodeCancel))
	p.expect("reset 1 CANCEL")
	p.c.Release(s, http2.CodeInternal)
	p.expectOut()
}

// TestRefusedConnect: a response with any other status is an ordinary one.
func TestRefusedConnect(t *testing.T) {
	p := newPeer(t, http2.Limits{})
	p.headers(1, false, connect...)
	if _, err := p.feed(); err != nil {
		t.Fatal(err)
	}
	s := p.streams[1]
	p.c.WriteHead(s, []byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n"), false)
	p.c.WriteData(s, []byte("no"), true)
	p.c.Release(s, http2.CodeInternal)
	p.expectOut("HEADERS 1 end=false :status=403 content-length=2", "DATA 1 2 end=true", "RST_STREAM 1 NO_ERROR")
}

// TestHeadersInTunnel: only DATA may follow an extended CONNECT (RFC 9113, section 8.5).
func TestHeadersInTunnel(t *testing.T) {
	p, s := tunnel(t)
	p.headers(1, true, "x-sum", "1")
	p.expect("reset 1 PROTOCOL_ERROR")
	p.c.Release(s, http2.CodeInternal)
	p.expectOut("RST_STREAM 1 PROTOCOL_ERROR")
}

const upgradeHead = "GET /chat HTTP/1.1\r\nHost: example.org\r\nSec-WebSocket-Version: 13\r\n" +
	"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-A: b\r\n\r\n"

// connected returns a server that has received an extended CONNECT.
func connected(t *testing.T) (*remote, *http2.Stream) {
	r := newRemote(t, http2.Limits{}, xhttp2.Setting{ID: xhttp2.SettingEnableConnectProtocol, Val: 1})
	if !r.c.CanUpgrade() {
		t.Fatal("the setting has no effect")
	}
	s := r.c.WriteUpgrade([]byte(upgradeHead), "http")
	f := r.frames()[0].(*xhttp2.MetaHeadersFrame)
	var got []string
	for _, field := range f.Fields {
		got = append(got, field.Name+"="+field.Value)
	}
	want := ":method=CONNECT :protocol=websocket :scheme=http :path=/chat :authority=example.org sec-websocket-version=13 x-a=b"
	if strings.Join(got, " ") != want || f.StreamEnded() {
		t.Fatal(got)
	}
	return r, s
}

func TestClientUpgrade(t *testing.T) {
	r, s := connected(t)
	r.headers(1, false, ":status", "103", "link", "x")
	r.headers(1, false, ":status", "200", "content-length", "5", "a", "b")
	r.data(1, false, "more than five bytes")
	r.data(1, true, "")
	r.expectClient(
		`response 1 "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" end=false interim=true`,
		`response 1 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\na: b\r\n\r\n" end=false interim=false`,
		`data 1 "more than five bytes" end=false`, `data 1 "" end=true`)
	r.c.WriteData(s, []byte("x"), false)
	r.c.WriteData(s, nil, true)
	r.c.Release(s, http2.CodeCancel)
	if f := r.frames(); len(f) != 2 {
		t.Error(f)
	}
}

func TestClientUpgradeIsRefused(t *testing.T) {
	r, s := connected(t)
	r.headers(1, true, ":status", "403")
	r.expectClient(`response 1 "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n" end=true interim=false`)
	r.c.Release(s, http2.CodeCancel)
	if f, ok := r.frames()[0].(*xhttp2.RSTStreamFrame); !ok || f.ErrCode != xhttp2.ErrCodeCancel {
		t.Error(f)
	}
}

func TestClientTunnelErrors(t *testing.T) {
	r, _ := connected(t)
	r.headers(1, false, ":status", "200")
	r.headers(1, true, "sum", "1")
	if events, err := r.feedClient(); err != nil || !strings.HasPrefix(events[len(events)-1], "reset 1 PROTOCOL_ERROR") {
		t.Error(events, err)
	}
	r = newRemote(t, http2.Limits{})
	r.ok(r.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnableConnectProtocol, Val: 2}))
	if _, err := r.feedClient(); err == nil {
		t.Error("a setting with the value 2 was accepted")
	}
}

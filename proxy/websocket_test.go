package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy/http1"
)

// echoSocket accepts a WebSocket and sends every message back.
func echoSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	conn.SetReadLimit(1 << 24)
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// connectTransport sends the request for a WebSocket as an extended CONNECT. [http.Transport] refuses the field ":protocol", so this uses the
// deprecated transport.
type connectTransport struct{ tr *xhttp2.Transport } //nolint:staticcheck // see above

func (c connectTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	toServer, body := io.Pipe()
	connect := r.Clone(r.Context())
	connect.Method, connect.Body, connect.Proto, connect.ProtoMajor = "CONNECT", toServer, "HTTP/2.0", 2
	key := connect.Header.Get("Sec-WebSocket-Key")
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key"} {
		connect.Header.Del(name)
	}
	connect.Header[":protocol"] = []string{"websocket"}
	resp, err := c.tr.RoundTrip(connect) //nolint:staticcheck // see connectTransport
	if err != nil || resp.StatusCode != 200 {
		return resp, err
	}
	resp.StatusCode = 101
	resp.Header.Set("Connection", "Upgrade")
	resp.Header.Set("Upgrade", "websocket")
	resp.Header.Set("Sec-WebSocket-Accept", string(http1.AppendWebSocketAccept(nil, []byte(key))))
	resp.Body = tunnelBody{resp.Body, body}
	return resp, nil
}

type tunnelBody struct {
	io.ReadCloser
	*io.PipeWriter
}

func (b tunnelBody) Close() error {
	_ = b.PipeWriter.Close()
	return b.ReadCloser.Close()
}

// socketClient returns a client for WebSockets that speaks HTTP/2.
func (b *bench) socketClient() *http.Client {
	dial := func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		if b.tls {
			config := testCertificates(b.t).client.Clone()
			config.NextProtos = []string{"h2"}
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	tr := &xhttp2.Transport{AllowHTTP: true, DialTLSContext: dial} //nolint:staticcheck // see connectTransport
	b.t.Cleanup(tr.CloseIdleConnections)                           //nolint:staticcheck // see connectTransport
	return &http.Client{Transport: connectTransport{tr}}
}

// talk sends messages over a WebSocket and expects them back.
func talk(t *testing.T, ctx context.Context, conn *websocket.Conn) {
	t.Helper()
	conn.SetReadLimit(1 << 24)
	large := make([]byte, 3<<20)
	_, _ = rand.Read(large)
	for i, message := range [][]byte{[]byte("hello"), {}, large, []byte(strings.Repeat("compress me ", 50000))} {
		if err := conn.Write(ctx, websocket.MessageBinary, message); err != nil {
			t.Fatal(i, err)
		}
		if _, got, err := conn.Read(ctx); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("message %d: %d bytes, want %d: %v", i, len(got), len(message), err)
		}
	}
	conn.CloseRead(ctx)
	if err := conn.Ping(ctx); err != nil {
		t.Error("ping:", err)
	}
	if err := conn.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Error("close:", err)
	}
}

// TestWebSocketVersions: a WebSocket has the same record, whichever version the client speaks. A server that speaks both versions is sent
// HTTP/1.1.
func TestWebSocketVersions(t *testing.T) {
	for upstream, begin := range map[string]func(t *testing.T) *bench{
		"HTTP/1.1": func(t *testing.T) *bench { return start(t, origin(t, echoSocket), nil) },
		"HTTP/2 by ALPN": func(t *testing.T) *bench {
			url, change := originALPN(t, true, echoSocket)
			return start(t, url, change)
		},
	} {
		for _, version := range []string{"1.1", "2"} {
			t.Run(upstream+" to "+version, func(t *testing.T) {
				b := begin(t)
				b.responses = 1
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				client, scheme := b.socketClient(), "http" // its connections are encrypted without its knowledge
				if version == "1.1" {
					tr := &http.Transport{TLSClientConfig: testCertificates(t).client}
					t.Cleanup(tr.CloseIdleConnections)
					client, scheme = &http.Client{Transport: tr}, b.proto()
				}
				conn, _, err := websocket.Dial(ctx, scheme+"://"+b.addr+"/socket?a=b", &websocket.DialOptions{
					HTTPClient: client, CompressionMode: websocket.CompressionContextTakeover, Subprotocols: []string{"chat"},
				})
				if err != nil {
					t.Fatal(err, b.log.String())
				}
				talk(t, ctx, conn)
				e := b.books.wait(t, 1)[0]
				if !isWebSocket(e) || string(e.Path) != "/socket" || string(e.Protocol) != version || e.ResponseBytes < 3<<20 || e.RequestBytes < 3<<20 ||
					len(e.ErrorType) > 0 {
					t.Errorf("%+v", e)
				}
			})
		}
	}
}

// isWebSocket reports whether an event is that of an open WebSocket. It is the same for all versions of HTTP.
func isWebSocket(e event.Event) bool {
	return e.Kind == event.KindStream && e.Status == 101 && string(e.Method) == "GET"
}

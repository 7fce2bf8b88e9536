package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wayside-proxy/wayside/internal/event"
)

const upgradeRequest = "GET /up?x=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n"

// upgradeOrigin responds to an upgrade with 101 and passes the connection to serve; other requests get 200 and their own header.
func upgradeOrigin(t *testing.T, serve func(conn *net.TCPConn, br *bufio.Reader)) string {
	return rawOrigin(t, func(conn net.Conn, br *bufio.Reader) {
		r := readRequest(br)
		switch {
		case r == "":
		case strings.Contains(r, "\r\nUpgrade: echo\r\n"):
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst ")
			serve(conn.(*net.TCPConn), br)
		default:
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+r)
		}
	})
}

// TestTunnelHalfCloses: each side may end its direction while the other continues. Bytes after the header of the request or the response
// are not lost.
func TestTunnelHalfCloses(t *testing.T) {
	url := upgradeOrigin(t, func(conn *net.TCPConn, br *bufio.Reader) {
		all, _ := io.ReadAll(br) // until the client's half-close
		_, _ = conn.Write(bytes.ToUpper(all))
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	payload := strings.Repeat("some bytes. ", 20000)
	c.send(upgradeRequest + "early " + payload)
	_ = c.tcp().CloseWrite()
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" || resp.Header.Get("Connection") != "Upgrade" {
		t.Fatal(resp, err)
	}
	got, err := io.ReadAll(c.br)
	if want := "first EARLY " + strings.ToUpper(payload); err != nil || string(got) != want {
		t.Fatalf("%d bytes, want %d: %v", len(got), len(want), err)
	}
	e := b.books.wait(t, 1)[0]
	if e.Kind != event.KindStream || e.Status != 101 || e.RequestBytes != uint64(len(payload)+6) || e.ResponseBytes != uint64(len(payload)+12) ||
		string(e.Path) != "/up" || e.TTFBMicros > e.DurationMicros || len(e.ErrorType) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestTunnelUpstreamHalfCloses: the upstream ends its direction first, and the client continues.
func TestTunnelUpstreamHalfCloses(t *testing.T) {
	received := make(chan string, 1)
	url := upgradeOrigin(t, func(conn *net.TCPConn, br *bufio.Reader) {
		_ = conn.CloseWrite()
		all, _ := io.ReadAll(br)
		received <- string(all)
	})
	b := start(t, url, nil)
	b.responses = 1
	c := b.dial()
	c.send(upgradeRequest)
	if _, err := http.ReadResponse(c.br, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c.br); err != nil || string(got) != "first " {
		t.Fatal(string(got), err)
	}
	c.send("after the end")
	_ = c.conn.Close()
	if got := <-received; got != "after the end" {
		t.Error(got)
	}
	b.books.wait(t, 1)
}

func TestUpgradesThatAreNotPassedOn(t *testing.T) {
	b := start(t, upgradeOrigin(t, func(*net.TCPConn, *bufio.Reader) { t.Error("upgraded") }), nil)
	for _, header := range []string{
		"Upgrade: echo\r\n",
		"Connection: close\r\nUpgrade: echo\r\n",
		"Connection: Upgrade\r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
		"Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 2\r\n",
	} {
		c := b.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n" + header + "\r\nhi")
		resp, body := c.receive("GET")
		if resp.StatusCode != 200 || strings.Contains(strings.ToLower(body), "upgrade") || strings.Contains(body, "HTTP2-Settings") {
			t.Errorf("%q: %s %s", header, resp.Status, body)
		}
		b.responses++
		_ = c.conn.Close()
	}
	c := b.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
	if resp, body := c.receive("GET"); resp.StatusCode != 200 || !strings.Contains(body, "\r\nConnection: Upgrade\r\nUpgrade: other\r\n") {
		t.Errorf("an upgrade that the upstream ignores: %s %s", resp.Status, body)
	}
	b.responses++
	b.responses = -1 // "hi" after a request without a length is a bad request, or is not read at all
}

// TestForeignUpgradeIsRefused: a 101 with a protocol that the client did not offer is refused, even if it also names one that the client
// did offer.
func TestForeignUpgradeIsRefused(t *testing.T) {
	for _, fields := range []string{"Upgrade: evil\r\n", "Upgrade: evil\r\nUpgrade: echo\r\n"} {
		b := start(t, canned(t, "HTTP/1.1 101 Switching Protocols\r\n"+fields+"Connection: upgrade\r\n\r\n"), nil)
		b.responses = 1
		c := b.dial()
		c.send(upgradeRequest)
		if resp, _ := c.receive("GET"); resp.StatusCode != 502 {
			t.Errorf("%q: %s", fields, resp.Status)
		}
		b.expect(0, 502, "unexpected_upgrade")
	}
}

func TestWebSocket(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetReadLimit(1 << 24)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if err := conn.Write(r.Context(), kind, message); err != nil {
				t.Error(err)
				return
			}
		}
	})
	b := start(t, url, nil)
	b.responses = 1
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tr := &http.Transport{TLSClientConfig: testCertificates(t).client}
	conn, resp, err := websocket.Dial(ctx, b.proto()+"://"+b.addr+"/socket", &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err, resp)
	}
	talk(t, ctx, conn)
	e := b.books.wait(t, 1)[0]
	if e.Kind != event.KindStream || e.Status != 101 || e.ResponseBytes < 3<<20 || e.RequestBytes < 3<<20 || len(e.ErrorType) > 0 {
		t.Errorf("%+v", e)
	}
}

func TestTunnelEndsInSilence(t *testing.T) {
	url := upgradeOrigin(t, func(_ *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	b := start(t, url, func(o *Options) { o.TunnelTimeout = 50 * time.Millisecond })
	b.responses = 1
	c := b.dial()
	c.send(upgradeRequest)
	_, _ = io.ReadAll(c.br)
	if e := b.books.wait(t, 1)[0]; string(e.ErrorType) != "idle_timeout" || e.Status != 101 {
		t.Errorf("%+v", e)
	}
}

// TestHalfClosedTunnelEndsInSilence: if one side has ended its direction and the other is silent, a tunnel ends long before
// TunnelTimeout.
func TestHalfClosedTunnelEndsInSilence(t *testing.T) {
	for name, first := range map[string]func(client, upstream *net.TCPConn) error{
		"upstream": func(_, upstream *net.TCPConn) error { return upstream.CloseWrite() },
		"client":   func(client, _ *net.TCPConn) error { return client.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			accepted, release := make(chan *net.TCPConn, 1), make(chan struct{})
			url := upgradeOrigin(t, func(conn *net.TCPConn, _ *bufio.Reader) {
				accepted <- conn
				<-release
			})
			b := start(t, url, func(o *Options) { o.TunnelHalfClosedTimeout = 50 * time.Millisecond })
			defer close(release)
			b.responses = 1
			c := b.dial()
			c.send(upgradeRequest)
			upstream := <-accepted
			if _, err := io.ReadFull(c.br, make([]byte, 12)); err != nil { // the response has begun
				t.Fatal(err)
			}
			if err := first(c.tcp(), upstream); err != nil {
				t.Fatal(err)
			}
			if e := b.books.wait(t, 1)[0]; string(e.ErrorType) != "idle_timeout" || e.Status != 101 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestShutdownEndsStreams: a shutdown ends tunnels and event streams when everything else has ended, and records them.
func TestShutdownEndsStreams(t *testing.T) {
	url := upgradeOrigin(t, func(_ *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	b := start(t, url, nil)
	b.responses = 2
	c := b.dial()
	c.send(upgradeRequest)
	if _, err := http.ReadResponse(c.br, nil); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	events := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-held
	})
	t.Cleanup(func() { close(held) })
	o := b.p.current.Load().o
	o.Upstream = events
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	sse := b.dial()
	sse.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(sse.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(resp.Body, make([]byte, 9))
	if err := b.p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range b.books.wait(t, 2) {
		if e.Kind != event.KindStream || string(e.ErrorType) != "shutdown" {
			t.Errorf("%+v", e)
		}
	}
}

// TestTunnelEndsOnce: closing both connections makes both directions fail, which is not recorded.
func TestTunnelEndsOnce(t *testing.T) {
	for _, first := range []failure{failNone, failReset} {
		client, _ := net.Pipe()
		upstream, _ := net.Pipe()
		x := &exchange{c: &clientConn{Conn: client}}
		tun := &tunnel{x: x, u: &upstreamConn{Conn: upstream}}
		tun.end(first)
		tun.end(failClientClosed)
		if got := tun.failure(); got != first {
			t.Errorf("%v was recorded, want %v", got, first)
		}
	}
}

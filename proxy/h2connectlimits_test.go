package proxy

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wayside-proxy/wayside/internal/event"
)

// This file has tests of the limits for tunnels over HTTP/2, and of requests for WebSockets that the proxy itself responds to.

// TestOwnResponseOpensNoWebSocket: a response that the proxy itself makes is no consent, either.
func TestOwnResponseOpensNoWebSocket(t *testing.T) {
	b := start(t, deadAddr(t), func(o *Options) {
		path := func(p string) RouteConditions { return RouteConditions{Path: p} }
		o.Routes = []Route{
			{Name: "fixed", Conditions: path("/fixed"), Respond: &RouteResponse{Status: 200, Body: []byte("hi")}},
			{Name: "empty", Conditions: path("/empty"), Respond: &RouteResponse{Status: 204}},
			{Name: "closed", Conditions: path("/closed"), Respond: &RouteResponse{Status: 410}},
		}
	})
	b.responses = 5
	c := b.dialH2()
	for i, test := range []struct{ path, contentType, status, kind string }{
		{"/fixed", "", "502", "upgrade_ignored"},
		{"/empty", "", "502", "upgrade_ignored"},
		{"/closed", "", "410", ""},
		{"/fixed", "application/grpc", "502", "upgrade_ignored"},
		{"/nothing", "application/grpc", "404", "no_route"},
	} {
		id := uint32(2*i + 1)
		c.connect(id, "websocket", test.path, "content-type", test.contentType)
		if status, _ := c.response(id); status != test.status {
			t.Error(test, status)
		}
		if e := b.books.wait(t, i+1)[i]; e.Kind != event.KindRequest || strconv.Itoa(int(e.Status)) != test.status || string(e.ErrorType) != test.kind {
			t.Errorf("%+v", e)
		}
	}
}

// TestExtendedConnectShare: at most half of the connections may be tunnels, over HTTP/2 as well.
func TestExtendedConnectShare(t *testing.T) {
	url := webSocketOrigin(t, switching, func(_ *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	b := start(t, url, func(o *Options) { o.MaxConns = 20 })
	b.responses = 11
	c := b.dialH2()
	for i := range uint32(10) {
		c.tunnel(2*i + 1)
	}
	c.connect(21, "websocket", "/up")
	if status, _ := c.response(21); status != "503" {
		t.Error(status)
	}
	if e := b.books.wait(t, 1)[0]; string(e.ErrorType) != "connections_max" {
		t.Errorf("%+v", e)
	}
}

// TestTunnelsWithoutConnectionShare: tunnels that the client has closed count for its address until the upstream has closed them too, even if
// the connection of the client has ended.
func TestTunnelsWithoutConnectionShare(t *testing.T) {
	ended := make(chan struct{})
	release := sync.OnceFunc(func() { close(ended) })
	url := webSocketOrigin(t, switching, func(*net.TCPConn, *bufio.Reader) { <-ended })
	t.Cleanup(release)
	b := start(t, url, func(o *Options) { o.MaxConns = 40 })
	b.responses = 5
	c := b.dialH2()
	for id := uint32(1); id <= 9; id += 2 {
		c.tunnel(id)
		c.ok(c.f.WriteRSTStream(id, xhttp2.ErrCodeCancel))
	}
	c.ok(c.f.WritePing(false, [8]byte{}))
	c.next(xhttp2.FramePing) // now all of them have arrived
	_ = c.conn.Close()
	counts := func() (conns, streams int) {
		b.p.mu.Lock()
		defer b.p.mu.Unlock()
		for _, used := range b.p.admission.accounts {
			conns, streams = conns+used.conns, streams+used.streams
		}
		return conns, streams
	}
	until(t, "the connection has ended", func() bool { conns, _ := counts(); return conns == 0 })
	if _, streams := counts(); streams != 5 {
		t.Errorf("%d streams are counted", streams)
	}
	again := b.dialH2()
	again.next(xhttp2.FrameSettings)
	if conns, streams := counts(); conns != 1 || streams != 5 {
		t.Errorf("%d connections and %d streams are counted", conns, streams)
	}
	_ = again.conn.Close()
	release()
	b.books.wait(t, 5)
	until(t, "nothing is counted", func() bool {
		b.p.mu.Lock()
		defer b.p.mu.Unlock()
		return len(b.p.admission.accounts) == 0
	})
}

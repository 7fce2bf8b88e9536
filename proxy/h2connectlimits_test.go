package proxy

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"testing"

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

package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// behind makes 127.0.0.1 a balancer.
func behind(change func(*Options)) func(*Options) {
	return func(o *Options) {
		o.ProxyProtocol, o.ClientAddress = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, ClientFull
		if change != nil {
			change(o)
		}
	}
}

// version2Header is a header of version 2 from 203.0.113.9 with a TLV.
const version2Header = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x10\xcb\x00\x71\x09\xc0\x00\x02\x02\x04\xd2\x01\xbb\x04\x00\x01x"

// announced connects, sends a header in pieces, and returns the connection, over TLS if the proxy speaks it.
func (b *bench) announced(pieces ...string) *client {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	for i, piece := range pieces {
		if i > 0 {
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // so that the pieces arrive separately
		}
		_, _ = io.WriteString(conn, piece)
	}
	return b.client(conn)
}

func TestProxyHeader(t *testing.T) {
	b := start(t, echoHead(t), behind(nil))
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct {
		pieces     []string
		addr, port string
	}{
		{[]string{"PROXY TCP4 203.0.113.7 192.0.2.2 1234 8443\r\n"}, "203.0.113.7", "8443"},
		{[]string{"PROXY TCP6 2001:db8::7 2001:db8::1 1234 443\r\n"}, "2001:db8::7", "443"},
		{[]string{"PRO", "XY TCP4 203.0.113.7 192.0.2.2 1234", " 80\r", "\n"}, "203.0.113.7", "80"},
		{[]string{version2Header}, "203.0.113.9", "443"},
		{strings.SplitAfter(version2Header, "QUIT"), "203.0.113.9", "443"},
		{[]string{"PROXY UNKNOWN\r\n"}, "127.0.0.1", ""},
		{[]string{"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"}, "127.0.0.1", ""}, // LOCAL
	} {
		k := b.announced(c.pieces...)
		for range 2 {
			k.send(request)
			resp, body := k.receive("GET")
			b.responses++
			if resp.StatusCode != 200 || !strings.Contains(body, "X-Forwarded-For: "+c.addr+"\r\n") || c.port != "" && !strings.Contains(body, "X-Forwarded-Port: "+c.port+"\r\n") {
				t.Errorf("%q: %s %s", c.pieces, resp.Status, body)
			}
			if e := b.books.wait(t, b.responses)[b.responses-1]; string(e.Client) != c.addr {
				t.Errorf("%q: recorded %s", c.pieces, e.Client)
			}
		}
		_ = k.conn.Close()
	}
	if !b.tls { // the request would be in the same segment
		k := b.announced("PROXY TCP4 203.0.113.7 192.0.2.2 1 2\r\n" + request)
		if resp, _ := k.receive("GET"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		b.responses++
	}
}

func TestProxyHeaderRefused(t *testing.T) {
	b := start(t, echoHead(t), behind(func(o *Options) { o.HeaderTimeout = 400 * time.Millisecond }))
	failed := int64(0)
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "\x16\x03\x01\x00\x80", "PROXY TCP4 1.1.1.1", version2Header[:20], "P",
		"PROXY " + strings.Repeat("x", 200), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("x", 5000),
	} {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%q is answered: %q", text, got)
		}
		_ = conn.Close()
		failed++
		until(t, "it is counted", func() bool { return b.p.metrics.badHeaders.Load() == failed })
	}
	probe, err := net.Dial("tcp", b.addr) // like a balancer that checks whether somebody is listening
	if err != nil {
		t.Fatal(err)
	}
	_ = probe.Close()
	until(t, "it is gone", func() bool { return b.p.Metrics().ClientConns == 0 })
	if n := b.p.metrics.badHeaders.Load(); n != failed {
		t.Error("a probe counts as a failure")
	}
	if n := b.log.Count("no valid PROXY header"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// TestProxyHeaderOfStrangers: only a balancer can claim another address.
func TestProxyHeaderOfStrangers(t *testing.T) {
	b := start(t, echoHead(t), func(o *Options) {
		o.ProxyProtocol, o.ClientAddress = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, ClientFull
	})
	for i, header := range []string{"PROXY TCP4 203.0.113.7 192.0.2.2 1234 443\r\n", version2Header} {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, header+"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if b.tls && i == 1 { // the signature is neither TLS nor HTTP
			_ = conn.Close()
			continue
		}
		if err != nil || resp.StatusCode != 400 {
			t.Error(resp, err)
		}
		b.responses++
		if e := b.books.wait(t, b.responses)[b.responses-1]; string(e.Client) != "127.0.0.1" {
			t.Errorf("%+v", e)
		}
		_ = conn.Close()
	}
}

// TestLimitsBehindBalancer: the limits per address apply to the clients behind a balancer, not to the balancer.
func TestLimitsBehindBalancer(t *testing.T) {
	b := start(t, echoHead(t), behind(func(o *Options) { o.MaxConnsPerAddress = 2 }))
	const first, second = "PROXY TCP4 203.0.113.1 192.0.2.2 1 443\r\n", "PROXY TCP4 203.0.113.2 192.0.2.2 1 443\r\n"
	var kept []*client
	for _, header := range []string{first, first, second, second} {
		c := b.announced(header)
		if resp, _ := c.get("/"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		kept = append(kept, c)
	}
	b.responses = 5
	third := b.announced(first)
	if b.tls {
		if err := third.conn.(*tls.Conn).Handshake(); err == nil {
			t.Error("a third connection was accepted")
		}
		b.responses--
	} else if resp, _ := third.receive("GET"); resp.StatusCode != 503 {
		t.Error(resp.Status)
	}
	until(t, "it is counted", func() bool { return b.p.Metrics().Failures["address_connections_max"] == 1 })
	_ = kept[0].conn.Close()
	until(t, "its connection is closed", func() bool { return b.p.Metrics().ClientConns == 3 })
	if resp, _ := b.announced(first).get("/"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	b.responses++
	until(t, "the books agree", func() bool { return len(b.books.all()) == b.responses })
}

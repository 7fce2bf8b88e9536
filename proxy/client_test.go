package proxy

import (
	"net/netip"
	"testing"
)

// TestClientBehindATrustedProxy: for a client behind a trusted proxy, events contain the address that the proxy reports, masked like any
// other. Reports from others are ignored.
func TestClientBehindATrustedProxy(t *testing.T) {
	const chain = "X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nX-Forwarded-For: 127.0.0.9\r\n"
	for _, c := range []struct {
		mode                  ClientAddress
		trusted, fields, want string
	}{
		{ClientFull, "127.0.0.0/8", chain, "203.0.113.7"},
		{ClientMasked, "127.0.0.0/8", chain, "203.0.113.0"},
		{ClientMasked, "127.0.0.0/8", "Forwarded: for=\"[2001:db8:1:2::7]\";proto=https\r\n", "2001:db8:1::"},
		{ClientOff, "127.0.0.0/8", chain, ""},
		{ClientFull, "127.0.0.0/8", "", "127.0.0.1"},
		{ClientFull, "127.0.0.0/8", "X-Forwarded-For: 203.0.113.7\r\nX Y: 1\r\n", "127.0.0.1"}, // refused before the end of the header
		{ClientFull, "10.0.0.0/8", chain, "127.0.0.1"},
		{ClientMasked, "10.0.0.0/8", chain + "Forwarded: for=203.0.113.7\r\n", "127.0.0.0"},
	} {
		b := start(t, echoHead(t), func(o *Options) {
			o.ClientAddress, o.TrustedProxies = c.mode, []netip.Prefix{netip.MustParsePrefix(c.trusted)}
		})
		b.ask("GET / HTTP/1.1\r\nHost: a\r\n" + c.fields + "Connection: close\r\n\r\n")
		if e := b.books.wait(t, 1)[0]; string(e.Client) != c.want {
			t.Errorf("%s, %s, %q: %s, want %s", c.mode, c.trusted, c.fields, e.Client, c.want)
		}
	}
}

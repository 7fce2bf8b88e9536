package http1

import (
	"net/netip"
	"strings"
	"testing"
)

func trustedForTest(addr netip.Addr) bool {
	return netip.MustParsePrefix("10.0.0.0/8").Contains(addr) || netip.MustParsePrefix("fd00::/8").Contains(addr)
}

func TestClientAddress(t *testing.T) {
	const peer = "10.0.0.1"
	for _, c := range []struct{ fields, want string }{
		{"", peer},
		{"X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 6.6.6.6,203.0.113.7 ,10.0.0.2\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For:\r\nx-forwarded-for: 10.0.0.2\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"},
		{"X-Forwarded-For: , 203.0.113.7, ,\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 6.6.6.6, unknown\r\n", peer},
		{"X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2\r\n", "10.0.0.2"},
		{"X-Forwarded-For: 203.0.113.7:4711\r\n", "203.0.113.7"},
		{"X-Forwarded-For: 203.0.113.7:99999\r\n", peer},
		{"X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7"},
		{"X-Forwarded-For: 2001:db8::7, [fd00::1]\r\n", "2001:db8::7"},
		{"X-Forwarded-For: [2001:db8::7]:443\r\n", "2001:db8::7"},
		{"X-Forwarded-For: [2001:db8::7]443\r\n", peer},
		{"X-Forwarded-For: [203.0.113.7]\r\n", peer},
		{"X-Forwarded-For: ::ffff:203.0.113.7\r\n", "203.0.113.7"},
		{"X-Forwarded-For: fe80::1%eth0\r\n", peer},
		{"X-Forwarded-For: 203.0.113.07\r\n", peer},
		{"X-Forwarded-For: 6.6.6.6" + strings.Repeat(", 10.0.0.9", hopsMax) + "\r\n", "10.0.0.9"},
		{"X-Forwarded-For: 203.0.113.7" + strings.Repeat(", 10.0.0.9", hopsMax-1) + "\r\n", "203.0.113.7"},
		{"Forwarded: for=203.0.113.7\r\n", "203.0.113.7"},
		{"Forwarded: for=6.6.6.6, For=203.0.113.7;by=x;host=\"a,b\" , for=10.0.0.2;proto=http\r\n", "203.0.113.7"},
		{"Forwarded: for=6.6.6.6\r\nForwarded: proto=https ; for=\"[2001:db8::7]:4711\"\r\n", "2001:db8::7"},
		{"Forwarded: for=203.0.113.7:80\r\n", "203.0.113.7"},
		{"Forwarded: for=203.0.113.7;host=\"b, for=6.6.6.6;x=\"\r\n", "203.0.113.7"},
		{"Forwarded: for=\"6.6.6.6, for=203.0.113.7\r\n", peer},
		{"Forwarded: for=203.0.113.7, proto=http\r\n", peer},
		{"Forwarded: for=203.0.113.7, for=_hidden, for=10.0.0.2\r\n", "10.0.0.2"},
		{"Forwarded: for=203.0.113.7;for=6.6.6.6\r\n", peer},
		{"Forwarded: 203.0.113.7\r\n", peer},
		{"Forwarded: for=203.0.113.7,,\r\n", "203.0.113.7"},
		{"Forwarded: for=203.0.113.7" + strings.Repeat(", for=10.0.0.9", hopsMax-1) + "\r\n", "203.0.113.7"},
		{"Forwarded: for=6.6.6.6" + strings.Repeat(", for=10.0.0.9", hopsMax) + "\r\n", "10.0.0.9"},
		{"Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: x\r\n", "203.0.113.7"}, // causes a second pass over the fields
	} {
		for _, trusted := range []bool{true, false} {
			var h Request
			h.Reset()
			h.Raw = []byte("GET / HTTP/1.1\r\nHost: a\r\n" + c.fields + "\r\n")
			if _, err := h.Rewrite(nil, &Peer{Trusted: trusted}, &RequestOptions{}); err != nil {
				t.Fatalf("%q: %v", c.fields, err)
			}
			want := c.want
			if !trusted {
				want = peer
			}
			if got := h.Client(netip.MustParseAddr(peer), trustedForTest); got.String() != want {
				t.Errorf("%q, trusted %v: %s, want %s", c.fields, trusted, got, want)
			}
		}
	}
}

// TestClientOfAMalformedRequest: if a line is malformed, the lines after it are unknown.
func TestClientOfAMalformedRequest(t *testing.T) {
	var h Request
	h.Reset()
	h.Raw = []byte("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\nX Y: 1\r\nX-Forwarded-For: 203.0.113.8\r\n\r\n")
	if _, err := h.Rewrite(nil, &Peer{Trusted: true}, &RequestOptions{}); err == nil {
		t.Fatal("accepted")
	}
	if got := h.Client(netip.MustParseAddr("10.0.0.1"), trustedForTest); got.String() != "10.0.0.1" {
		t.Error(got)
	}
}

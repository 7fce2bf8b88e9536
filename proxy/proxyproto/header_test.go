package proxyproto

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func version2(command, family byte, payload string) string {
	return prefix2 + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(payload)))) + payload
}

const (
	addresses4 = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb"
	addresses6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\xd2\x01\xbb"
)

var valid = map[string]Header{
	"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n":       header("192.0.2.1:1234", "192.0.2.2:443"),
	"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n":    header("255.255.255.255:65535", "0.0.0.0:0"),
	"PROXY TCP6 2001:db8::1 2001:DB8:0::2 1234 443\r\n": header("[2001:db8::1]:1234", "[2001:db8::2]:443"),
	"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n":           header("192.0.2.1:1", "[::1]:2"),
	"PROXY UNKNOWN\r\n":                                 {Local: true},
	"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n": {Local: true},
	version2(0x21, 0x11, addresses4):                                       header("192.0.2.1:1234", "192.0.2.2:443"),
	version2(0x21, 0x21, addresses6):                                       header("[2001:db8::1]:1234", "[2001:db8::2]:443"),
	version2(0x21, 0x11, addresses4+"\x01\x00\x02h2\x04\x00\x03abc"):       header("192.0.2.1:1234", "192.0.2.2:443"), // TLVs
	version2(0x21, 0x11, addresses4+strings.Repeat("\x04\x00\x01x", 1000)): header("192.0.2.1:1234", "192.0.2.2:443"),
	version2(0x20, 0x00, ""):                                               {Local: true},
	version2(0x20, 0x11, addresses4):                                       {Local: true},
	version2(0x20, 0x31, strings.Repeat("u", 216)):                         {Local: true},
}

var invalid = []string{
	"G", "GET / HTTP/1.1\r\n", "PROXY\r\n", "PROXYTCP4", "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "\x16\x03\x01", "\r\nPROXY", "\r\n\r\nGET", " PROXY TCP4",
	"PROXY TCP4 192.0.2.1 192.0.2.2 1234\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443 \r\n", "PROXY  TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
	"PROXY TCP4 192.0.2.1 192.0.2.2 01234 443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n",
	"PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n", "PROXY TCP4 192.0.2.01 192.0.2.2 1 443\r\n", "PROXY TCP4 ::1 ::1 1 443\r\n", "PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n",
	"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n", "PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n", "PROXY TCP4 localhost 192.0.2.2 1 443\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\n\r\n",
	"PROXY TCP4\t192.0.2.1 192.0.2.2 1 443\r\n", "PROXY tcp4 192.0.2.1 192.0.2.2 1 443\r\n", "PROXY TCP4 192.0.2.1\r192.0.2.2 1 443\r\n", "PROXY " + strings.Repeat("a", 110),
	"PROXY UNKNOWN " + strings.Repeat("a", 100) + "\r\n",
	version2(0x11, 0x11, addresses4), version2(0x22, 0x11, addresses4), version2(0x21, 0x12, addresses4), version2(0x21, 0x31, strings.Repeat("u", 216)),
	version2(0x21, 0x00, ""), version2(0x21, 0x11, addresses4[:11]), version2(0x21, 0x21, addresses4), version2(0x21, 0x11, addresses4+strings.Repeat("x", 4096)),
	prefix2 + "\x31",
}

func header(source, destination string) Header {
	return Header{Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination)}
}

func TestValid(t *testing.T) {
	for text, want := range valid {
		h, n, err := Parse([]byte(text + "GET / HTTP/1.1\r\n\r\n"))
		if h != want || n != len(text) || err != nil {
			t.Errorf("%q: %+v, %d, %v", text, h, n, err)
		}
		for i := range len(text) { // wherever the header is cut off, more bytes are needed
			if _, n, err := Parse([]byte(text[:i])); n != 0 || !errors.Is(err, ErrIncomplete) {
				t.Errorf("%q: %d, %v", text[:i], n, err)
			}
		}
	}
}

func TestInvalid(t *testing.T) {
	for _, text := range invalid {
		if h, n, err := Parse([]byte(text)); n != 0 || !errors.Is(err, ErrHeader) {
			t.Errorf("%q: %+v, %d, %v", text, h, n, err)
		}
	}
}

// FuzzParse: a header means the same in whatever pieces it arrives, and is never longer than the bytes that have arrived.
func FuzzParse(f *testing.F) {
	for text := range valid {
		f.Add([]byte(text))
	}
	for _, text := range invalid {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		if n > len(b) || (n > 0) != (err == nil) || n > BytesMax {
			t.Fatalf("%d of %d bytes, %v", n, len(b), err)
		}
		if err == nil && !h.Local && (!h.Source.IsValid() || !h.Destination.IsValid() || h.Source.Addr().Zone() != "") {
			t.Fatalf("%+v", h)
		}
		for i := range min(len(b), BytesMax) {
			early, m, earlyErr := Parse(b[:i])
			switch {
			case earlyErr == nil && (early != h || m != n):
				t.Fatalf("%d bytes: %+v, all: %+v", i, early, h)
			case errors.Is(earlyErr, ErrHeader) && err == nil:
				t.Fatalf("%d bytes are refused (%v), all are accepted", i, earlyErr)
			}
		}
	})
}

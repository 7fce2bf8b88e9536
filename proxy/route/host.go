package route

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// appendHost appends the name or address in a Host field in the form that routes compare: without port, in lower case, without a trailing
// dot; an IPv6 address in brackets and in its shortest form. It returns false for a host that servers interpret in different ways: one with
// an escape or an empty label.
func appendHost(dst, host []byte) ([]byte, bool) {
	if len(host) > 0 && host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		if end < 0 {
			return dst, false
		}
		literal := host[1:end]
		addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(literal), len(literal))) // only the error would retain the text
		if err != nil || !addr.Is6() {
			return dst, false
		}
		return append(addr.AppendTo(append(dst, '[')), ']'), true
	}
	if i := bytes.IndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	before := byte('.')
	for _, c := range host {
		if c == '%' || c == '.' && before == '.' {
			return dst, false
		}
		before = c
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst, before != '.' || len(host) == 0
}

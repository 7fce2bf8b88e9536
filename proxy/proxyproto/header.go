// Package proxyproto parses headers of the PROXY protocol, versions 1 and 2, with which a load balancer names the client of a TCP
// connection. It does no I/O, so event loops can use it. It is strict: everything that the specification does not allow is an error,
// because anyone who can add a header can claim any address.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// BytesMax is the length of the longest header that is accepted. Version 1 allows 107 bytes, version 2 allows up to 64 KiB of TLVs, of which
// balancers send a few hundred bytes.
const BytesMax = 4096

// Header contains the addresses between which a connection was made.
type Header struct {
	Source, Destination netip.AddrPort
	Local               bool // the balancer made the connection for itself (LOCAL) or does not know the client (UNKNOWN); the addresses are not set
}

var (
	// ErrIncomplete means that the bytes are the beginning of a header.
	ErrIncomplete = errors.New("the PROXY header is incomplete")
	// ErrHeader is wrapped by errors about bytes that are not a header.
	ErrHeader = errors.New("not a PROXY header")
)

const (
	prefix1    = "PROXY "
	bytesMax1  = 107 // including the end of the line
	prefix2    = "\r\n\r\n\x00\r\nQUIT\n"
	headBytes2 = 16
)

// Parse reads the header at the beginning of b and returns its length. TLVs are skipped.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case bytes.HasPrefix(b, []byte(prefix2)):
		return parse2(b)
	case bytes.HasPrefix(b, []byte(prefix1)):
		return parse1(b)
	case strings.HasPrefix(prefix2, string(b[:min(len(b), len(prefix2))])), strings.HasPrefix(prefix1, string(b[:min(len(b), len(prefix1))])):
		return h, 0, ErrIncomplete
	}
	return h, 0, fmt.Errorf("%w: it begins neither with PROXY nor with the signature of version 2", ErrHeader)
}

// parse1 reads a line such as "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n".
func parse1(b []byte) (h Header, n int, err error) {
	line, _, ended := bytes.Cut(b[:min(len(b), bytesMax1)], []byte("\r\n"))
	switch {
	case !ended && len(b) >= bytesMax1:
		return h, 0, fmt.Errorf("%w: the line has more than %d bytes", ErrHeader, bytesMax1)
	case bytes.ContainsAny(bytes.TrimSuffix(line, []byte{'\r'}), "\r\n\x00"):
		return h, 0, fmt.Errorf("%w: control characters in the line", ErrHeader)
	case !ended:
		return h, 0, ErrIncomplete
	}
	n = len(line) + 2
	words := strings.Split(string(line), " ")
	if words[1] == "UNKNOWN" {
		return Header{Local: true}, n, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return h, 0, fmt.Errorf("%w: it needs TCP4 or TCP6, two addresses and two ports", ErrHeader)
	}
	for i, to := range []*netip.AddrPort{&h.Source, &h.Destination} {
		addr, err := netip.ParseAddr(words[2+i])
		if err != nil || addr.Zone() != "" || addr.Is4() != (words[1] == "TCP4") {
			return h, 0, fmt.Errorf("%w: an address is not one of %s", ErrHeader, words[1])
		}
		port, err := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != words[4+i] {
			return h, 0, fmt.Errorf("%w: a port is not a number from 0 to 65535", ErrHeader)
		}
		*to = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return h, n, nil
}

// Values of bytes 13 and 14 in version 2.
const (
	commandLocal = 0x20
	commandProxy = 0x21
	familyTCP4   = 0x11
	familyTCP6   = 0x21
)

func parse2(b []byte) (h Header, n int, err error) {
	if len(b) < headBytes2 {
		if len(b) > len(prefix2) && b[12] != commandLocal && b[12] != commandProxy {
			return h, 0, fmt.Errorf("%w: unknown version or command %#x", ErrHeader, b[12])
		}
		return h, 0, ErrIncomplete
	}
	command, family, length := b[12], b[13], int(binary.BigEndian.Uint16(b[14:]))
	n = headBytes2 + length
	var size int // size of an address
	switch {
	case command != commandLocal && command != commandProxy:
		return h, 0, fmt.Errorf("%w: unknown version or command %#x", ErrHeader, command)
	case n > BytesMax:
		return h, 0, fmt.Errorf("%w: it has %d bytes, but the maximum is %d", ErrHeader, n, BytesMax)
	case command == commandLocal:
	case family == familyTCP4:
		size = 4
	case family == familyTCP6:
		size = 16
	default:
		return h, 0, fmt.Errorf("%w: the family %#x is not TCP over IPv4 or IPv6", ErrHeader, family)
	}
	if length < 2*size+4 && command == commandProxy {
		return h, 0, fmt.Errorf("%w: %d bytes are too few for two addresses", ErrHeader, length)
	}
	if len(b) < n {
		return h, 0, ErrIncomplete
	}
	if command == commandLocal {
		return Header{Local: true}, n, nil
	}
	at := b[headBytes2:]
	source, _ := netip.AddrFromSlice(at[:size])
	destination, _ := netip.AddrFromSlice(at[size : 2*size])
	ports := at[2*size:]
	h.Source = netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports))
	h.Destination = netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:]))
	return h, n, nil
}

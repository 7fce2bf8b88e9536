package http1

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// This file finds the client's address, as reported by trusted peers.

// hopsMax limits how many addresses in a request are examined.
const hopsMax = 32

// Client returns the address of the client on whose behalf a trusted peer sent the request: the rightmost untrusted address in
// X-Forwarded-For or, without that field, in Forwarded (RFC 7239). Each proxy appends the address from which it received the request, so
// everything to the left of that address was written by an untrusted sender. If all addresses are trusted, Client returns the leftmost
// one. An entry that is not an address ends the search: Client then returns the address to its right, or the peer's.
//
// Until Rewrite has read all fields, Client returns the address of the peer.
func (h *Request) Client(peer netip.Addr, trusted func(netip.Addr) bool) netip.Addr {
	found := peer
	next := func(entry []byte) (more bool) {
		addr, ok := nodeAddr(entry)
		if ok {
			found = addr
		}
		return ok && trusted(addr)
	}
	switch {
	case !h.complete:
	case len(h.forwarded) > 0:
		eachFromRight(h.forwarded, next)
	case len(h.elements) > 0:
		var nodes [hopsMax][]byte
		n := forwardedNodes(&nodes, h.elements)
		for i := n - 1; i >= max(0, n-hopsMax) && next(nodes[i%hopsMax]); i-- {
		}
	}
	return found
}

// eachFromRight calls next with the entries of a list, from the last to the first, until next returns false.
func eachFromRight(list []byte, next func(entry []byte) bool) {
	for n := 0; len(list) > 0 && n < hopsMax; n++ {
		i := bytes.LastIndexByte(list, ',')
		entry := trimOWS(list[i+1:])
		list = list[:max(i, 0)]
		if len(entry) > 0 && !next(entry) {
			return
		}
	}
}

// forwardedNodes finds the "for" parameter of each element in Forwarded (RFC 7239, section 4); the node of an element without one is nil.
// It returns the number of elements and keeps the last hopsMax nodes: number i is nodes[i%hopsMax]. If the list violates the grammar, for
// example because an unclosed quotation mark from a client swallows the text that proxies append, it returns 0.
func forwardedNodes(nodes *[hopsMax][]byte, list []byte) (n int) {
	var node []byte
	for pairs := 0; ; {
		list = skipOWS(list)
		if name := tokenLength(list); name > 0 {
			if name == len(list) || list[name] != '=' {
				return 0
			}
			text, rest := parameterValue(list[name+1:])
			if foldEqual(list[:name], "for") {
				if node != nil {
					return 0
				}
				node = text
			}
			pairs++
			list = skipOWS(rest)
		}
		end := len(list) == 0
		switch {
		case !end && list[0] == ';':
			list = list[1:]
			continue
		case !end && list[0] != ',':
			return 0
		case pairs > 0:
			nodes[n%hopsMax] = node
			n++
		}
		if end {
			return n
		}
		node, pairs, list = nil, 0, list[1:]
	}
}

// parameterValue splits off a value: a quoted string, or the text up to the next separator. It does not require quotes around an address with a
// port, because many proxies omit them.
func parameterValue(b []byte) (text, rest []byte) {
	if n := quotedLength(b); n > 0 {
		return b[1 : n-1], b[n:]
	}
	n := bytes.IndexAny(b, ",; \t\"")
	if n < 0 {
		n = len(b)
	}
	return b[:n:n], b[n:]
}

// nodeAddr parses an address in the forms that proxies write: with or without a port, and an IPv6 address with or without brackets.
func nodeAddr(b []byte) (addr netip.Addr, ok bool) {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || end+1 < len(b) && (b[end+1] != ':' || !validPort(b[end+2:])) {
			return addr, false
		}
		b = b[1:end]
		ok = true // only an IPv6 address may be in brackets
	} else if i := bytes.IndexByte(b, ':'); i >= 0 && bytes.IndexByte(b[i+1:], ':') < 0 {
		if !validPort(b[i+1:]) {
			return addr, false
		}
		b = b[:i]
	}
	if len(b) > len("0000:0000:0000:0000:0000:ffff:255.255.255.255") || bytes.IndexByte(b, '%') >= 0 { // a zone has no meaning on another machine
		return addr, false
	}
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b))) // only the error would retain the text
	if err != nil || ok && !addr.Is6() {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

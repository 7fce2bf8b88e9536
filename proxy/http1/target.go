package http1

import (
	"bytes"
	"net/netip"
)

// This file parses the request line (RFC 9112, section 3): method, target and version, with single spaces between them and nothing else.

// methodBytesMax is the maximum length of a method.
const methodBytesMax = 64

// ParseLine parses the request line in Raw. If it fails, h keeps the parts that have been parsed, because they are recorded.
func (h *Request) ParseLine() error {
	eol := bytes.IndexByte(h.Raw, '\n')
	if eol < 1 || h.Raw[eol-1] != '\r' {
		return ErrSyntax
	}
	line := h.Raw[:eol-1]
	h.fields = h.Raw[eol+1:]
	i := tokenLength(line)
	if i == 0 || i == len(line) || line[i] != ' ' {
		return ErrSyntax
	}
	method, rest := line[:i], line[i+1:]
	end := bytes.IndexByte(rest, ' ')
	if end < 1 {
		return ErrSyntax
	}
	target, version := rest[:end], rest[end+1:]
	err := h.parseVersion(version)
	if err != nil && err != ErrVersion {
		return err
	}
	if len(method) > methodBytesMax {
		return ErrMethod // longer than any method that a server knows (RFC 9112, section 3)
	}
	h.Method = method
	if err != nil {
		return err
	}
	if !validTargetBytes(target) {
		return ErrTarget
	}
	if h.Is("CONNECT") {
		if target[0] == '/' { // an extended CONNECT of HTTP/2
			_ = h.parseTarget(target)
		}
		return ErrMethod
	}
	return h.parseTarget(target)
}

// validTargetBytes refuses bytes that RFC 3986 never allows: spaces, control characters, and bytes above ASCII. In the query, bytes above ASCII
// are accepted, because people type them (curl '?q=ü') and servers agree on their meaning.
func validTargetBytes(target []byte) bool {
	query := false
	for _, c := range target {
		if c <= ' ' || c == 0x7f || c > 0x7f && !query {
			return false
		}
		query = query || c == '?'
	}
	return true
}

// parseVersion accepts versions 1.0 and 1.1. Other well-formed versions get ErrVersion.
func (h *Request) parseVersion(b []byte) error {
	if len(b) != 8 || string(b[:5]) != "HTTP/" || b[5] < '0' || b[5] > '9' || b[6] != '.' || b[7] < '0' || b[7] > '9' {
		return ErrSyntax
	}
	if b[5] != '1' || b[7] > '1' {
		return ErrVersion
	}
	h.HTTP10 = b[7] == '0'
	return nil
}

// parseTarget converts the request target to the form that is sent upstream. Clients of forward proxies send the absolute form, whose authority
// replaces Host (RFC 9112, section 3.2.2).
func (h *Request) parseTarget(target []byte) error {
	h.Target = target
	switch {
	case target[0] == '/':
	case len(target) == 1 && target[0] == '*':
		if !h.Is("OPTIONS") {
			return ErrTarget
		}
	default:
		if err := h.parseAbsolute(target); err != nil {
			h.Target = nil
			return err
		}
	}
	h.Path = h.Target
	if i := bytes.IndexAny(h.Path, "?#"); i >= 0 {
		h.Path = h.Path[:i]
	}
	if !validEscapes(h.Path) || bytes.IndexByte(h.Target[len(h.Path):], '#') >= 0 {
		return ErrTarget
	}
	return nil
}

// validEscapes reports whether each "%" in a path or host begins an encoded byte (RFC 3986, section 2.1). Servers disagree about invalid escapes.
// Queries are not checked, because only the application decodes them.
func validEscapes(path []byte) bool {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if len(path) < i+3 {
			return false
		}
		_, first := hexDigit(path[i+1])
		_, second := hexDigit(path[i+2])
		if !first || !second {
			return false
		}
		path = path[i+3:]
	}
}

// validHostEscapes accepts escapes of bytes that a name may contain, and of bytes above ASCII (RFC 3986, section 3.2.2). Decoding any other escape
// could end a string or the host, or add a port.
func validHostEscapes(host []byte) bool {
	if !validEscapes(host) {
		return false
	}
	for i, c := range host {
		if c != '%' {
			continue
		}
		high, _ := hexDigit(host[i+1])
		low, _ := hexDigit(host[i+2])
		if decoded := high<<4 | low; decoded < 0x80 && (decoded == '%' || !isHostByte[decoded]) {
			return false
		}
	}
	return true
}

func (h *Request) parseAbsolute(target []byte) error {
	rest, ok := cutSchemeHTTP(target)
	if !ok {
		return ErrTarget
	}
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	if !validHost(host) {
		return ErrTarget // for example because it has userinfo
	}
	h.Host, h.Target, h.replaceHost = host, path, true
	switch {
	case len(path) > 0 && path[0] == '/':
	case len(path) > 0 && path[0] == '?': // an empty path means "/" (RFC 9110, section 4.2.3)
		h.Target = append([]byte{'/'}, path...)
	case len(path) > 0:
		return ErrTarget // a fragment
	case h.Is("OPTIONS"):
		h.Target = asterisk // RFC 9112, section 3.2.4
	default:
		h.Target = slash
	}
	return nil
}

var (
	slash    = []byte("/")
	asterisk = []byte("*")
)

func cutSchemeHTTP(b []byte) ([]byte, bool) {
	if len(b) < 7 || !foldEqual(b[:4], "http") || string(b[4:7]) != "://" {
		return nil, false
	}
	return b[7:], true
}

// isHostByte marks the bytes that a registered name or an IPv4 address may contain (RFC 3986, section 3.2.2), except the comma, which would turn
// a Host value into a list.
var isHostByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = true, true
	}
	for _, c := range "-._~%!$&'()*+;=" {
		t[c] = true
	}
	return t
}()

// validHost accepts host [":" port], where host is a non-empty name or an address.
func validHost(b []byte) bool {
	i := 0
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !validIPv6(b[1:end]) {
			return false
		}
		i = end + 1
	} else {
		for i < len(b) && isHostByte[b[i]] {
			i++
		}
		if i == 0 || !validHostEscapes(b[:i]) {
			return false
		}
	}
	return i == len(b) || b[i] == ':' && validPort(b[i+1:])
}

// validPort accepts a port number, or an empty port (RFC 3986, section 3.2.3).
func validPort(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return len(b) <= 5 && n <= 65535
}

// validIPv6 checks the part of an IP literal between the brackets. It refuses zones, which are meaningful only on the local host (RFC 6874), and
// IPvFuture addresses (RFC 3986, section 3.2.2), which do not exist.
func validIPv6(b []byte) bool {
	if len(b) > len("0000:0000:0000:0000:0000:ffff:255.255.255.255") {
		return false
	}
	addr, err := netip.ParseAddr(string(b))
	return err == nil && addr.Is6() && addr.Zone() == ""
}

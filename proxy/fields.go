package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Strict parsing of header blocks, in both directions (RFC 9112, section 5). The scanner never repairs: a name that is not a
// token, whitespace before the colon, an obsolete line folding, a bare LF or CR, NUL or another control character is an error.

var (
	errFieldSyntax   = errors.New("malformed header field")
	errFraming       = errors.New("ambiguous message framing")
	errContentLength = errors.New("bad content-length")
)

// fieldID identifies the fields that the proxy does not simply pass on.
type fieldID uint8

const (
	fieldOther    fieldID = iota
	fieldHopByHop         // always removed: Keep-Alive, Proxy-*
	fieldConnection
	fieldTransferEncoding
	fieldContentLength
	fieldHost
	fieldTE
	fieldUpgrade
	fieldTrailer // passed on if trailers are
	fieldExpect
	fieldMaxForwards
	fieldForwardedFor
	fieldForwardedProto // X-Forwarded-Proto, -Host, -Port: passed on from trusted peers only
	fieldForwarded
	fieldForwardedOther // the other ones of forwarding.go: likewise, but never written by the proxy
	fieldRequestID
	fieldTraceparent
	fieldContentType
	fieldDate
	fieldAuthorization
	fieldChallenge // WWW-Authenticate
	fieldImitation // a forwarding or framing field, or one that the proxy writes, with another separator instead of "-"
)

// isToken marks the bytes of RFC 9110 tokens.
var isToken = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// isAlphanumeric marks the bytes that CGI keeps in the name of a field.
var isAlphanumeric = func() (t [256]bool) {
	for c, token := range isToken {
		t[c] = token && (c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z')
	}
	return t
}()

// nextField splits the first field off a header block that ends with an empty line. n is the length of its line, CRLF
// included; n == 0 means that the block is at its end.
func nextField(b []byte) (name, value []byte, n int, err error) {
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		return nil, nil, 0, nil
	}
	i := tokenLength(b)
	if i == 0 || i == len(b) || b[i] != ':' {
		return nil, nil, 0, errFieldSyntax
	}
	end := bytes.IndexByte(b[i:], '\n')
	if end < 2 || b[i+end-1] != '\r' || !validValue(b[i+1:i+end-1]) {
		return nil, nil, 0, errFieldSyntax
	}
	return b[:i], trimOWS(b[i+1 : i+end-1]), i + end + 1, nil
}

// plainField reports whether a line of n bytes at the beginning of b has the form name ":" [" "] value, without other whitespace.
// Whitespace around a value means nothing (RFC 9110, section 5.5), but nginx and node refuse a tab after Content-Length and other
// servers do not. So the proxy rewrites such a line.
func plainField(b, name, value []byte, n int) bool {
	switch n - len(name) - len(value) {
	case 3:
		return true
	case 4:
		return b[len(name)+1] == ' '
	}
	return false
}

func appendPlain(dst, name, value []byte) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), '\r', '\n')
}

// copyFields appends the fields of raw that are passed on to dst, in runs as long as possible. handle is called for each field that is not
// fieldOther, and says whether it is passed on. In a second pass, the fields that options name are left out.
func copyFields(dst, raw []byte, options *connectionOptions, second bool, handle func(id fieldID, name, value []byte) (keep bool, err error)) ([]byte, error) {
	run, at := 0, 0
	for {
		name, value, n, err := nextField(raw[at:])
		if err != nil {
			return dst, err
		}
		if n == 0 {
			return append(dst, raw[run:at]...), nil
		}
		id, keep := classify(name), true
		if id != fieldOther {
			if keep, err = handle(id, name, value); err != nil {
				return dst, err
			}
		}
		if id == fieldContentLength {
			value = plainLength(value)
		}
		keep = keep && !(second && options.named(name))
		if !keep || !plainField(raw[at:], name, value, n) {
			dst = append(dst, raw[run:at]...)
			run = at + n
			if keep {
				dst = appendPlain(dst, name, value)
			}
		}
		at += n
	}
}

// validValue reports whether b is free of the bytes that a field value must not contain: control characters other than HTAB
// (RFC 9110, section 5.5). Bytes above 0x7f are allowed. It checks eight bytes at a time.
func validValue(b []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		del := w ^ ones*0x7f
		if ((w-ones*0x20)&^w|(del-ones)&^del)&high != 0 && !validBytes(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return validBytes(b)
}

func validBytes(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// foldEqual compares a token with a lower-case name of letters and '-', ignoring case.
func foldEqual(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range lower {
		if b[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// hasPrefixFold is foldEqual for the beginning of a name.
func hasPrefixFold(name []byte, lower string) bool {
	return len(name) >= len(lower) && foldEqual(name[:len(lower)], lower)
}

// classify finds a field's id by its name. The length alone decides for most fields.
func classify(name []byte) fieldID {
	if id := classifyShort(name); id != fieldOther {
		return id
	}
	return classifyForwarding(name)
}

func classifyShort(name []byte) fieldID {
	switch len(name) {
	case 2:
		return pick(name, "te", fieldTE)
	case 4:
		if foldEqual(name, "host") {
			return fieldHost
		}
		return pick(name, "date", fieldDate)
	case 6:
		return pick(name, "expect", fieldExpect)
	case 7:
		if foldEqual(name, "upgrade") {
			return fieldUpgrade
		}
		return pick(name, "trailer", fieldTrailer)
	case 9:
		return pick(name, "forwarded", fieldForwarded)
	case 10:
		if foldEqual(name, "connection") {
			return fieldConnection
		}
		return pick(name, "keep-alive", fieldHopByHop)
	case 11:
		return pick(name, "traceparent", fieldTraceparent)
	case 13:
		return pick(name, "authorization", fieldAuthorization)
	}
	return classifyLong(name)
}

func classifyLong(name []byte) fieldID {
	switch len(name) {
	case 12:
		if foldEqual(name, "content-type") {
			return fieldContentType
		}
		if foldEqual(name, "max-forwards") {
			return fieldMaxForwards
		}
		return pickOwn(name, "x-request-id", fieldRequestID)
	case 14:
		return pickOwn(name, "content-length", fieldContentLength)
	case 15:
		return pickOwn(name, "x-forwarded-for", fieldForwardedFor)
	case 16:
		if foldEqual(name, "proxy-connection") {
			return fieldHopByHop
		}
		if foldEqual(name, "www-authenticate") {
			return fieldChallenge
		}
		if foldEqual(name, "x-forwarded-host") {
			return fieldForwardedProto
		}
		if imitates(name, "x-forwarded-host") {
			return fieldImitation
		}
		return pickOwn(name, "x-forwarded-port", fieldForwardedProto)
	case 17:
		if foldEqual(name, "transfer-encoding") {
			return fieldTransferEncoding
		}
		if imitates(name, "transfer-encoding") {
			return fieldImitation
		}
		return pickOwn(name, "x-forwarded-proto", fieldForwardedProto)
	case 18:
		return pick(name, "proxy-authenticate", fieldHopByHop)
	case 19:
		return pick(name, "proxy-authorization", fieldHopByHop)
	}
	return fieldOther
}

func pick(name []byte, lower string, id fieldID) fieldID {
	if foldEqual(name, lower) {
		return id
	}
	return fieldOther
}

// pickOwn is pick for the fields that only the proxy may set, and for those that frame a message.
func pickOwn(name []byte, lower string, id fieldID) fieldID {
	if imitates(name, lower) {
		return fieldImitation
	}
	return pick(name, lower, id)
}

// imitates reports whether a name differs from a known one only in its separators. CGI, WSGI and similar interfaces turn every
// separator into "_", so X_Forwarded_For or X.Real.IP would reach a program as if the proxy had written it.
func imitates(name []byte, lower string) bool {
	alike, imitation := resembles(name, lower)
	return alike && imitation && len(name) == len(lower)
}

// resembles reports whether a name begins with lower if all separators count as equal, and whether it has another separator than
// lower. lower consists of lower-case letters, digits and '-'.
func resembles(name []byte, lower string) (alike, imitation bool) {
	if len(name) < len(lower) {
		return false, false
	}
	for i := range lower {
		switch c := name[i]; {
		case lower[i] == '-':
			if isAlphanumeric[c] {
				return false, false
			}
			imitation = imitation || c != '-'
		case c|0x20 != lower[i]:
			return false, false
		}
	}
	return true, imitation
}

// framing says where a message's body ends, according to its header.
type framing struct {
	length  int64 // Content-Length; -1: none
	chunked bool
}

// contentLength records a Content-Length. A second one is an error, even an equal one, and so is anything but digits.
func (f *framing) contentLength(value []byte) error {
	if f.length >= 0 {
		return errFraming
	}
	n, err := parseLength(value)
	f.length = n
	return err
}

// transferEncoding records a Transfer-Encoding, which must be "chunked" and occur once.
func (f *framing) transferEncoding(value []byte) error {
	if f.chunked || !foldEqual(value, "chunked") {
		return errFraming
	}
	f.chunked = true
	return nil
}

// plainLength removes leading zeros from a Content-Length: a server that reads them as octal would see another length.
func plainLength(value []byte) []byte {
	for len(value) > 1 && value[0] == '0' {
		value = value[1:]
	}
	return value
}

func parseLength(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 18 {
		return -1, errContentLength
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1, errContentLength
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

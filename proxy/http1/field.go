package http1

import (
	"bytes"
	"encoding/binary"
)

// This file parses header blocks of requests and responses strictly (RFC 9112, section 5). It never repairs anything: a name that is not a
// token, whitespace before the colon, obsolete line folding, a bare LF or CR, NUL and any other control character are errors.

// isToken marks the bytes that a token (RFC 9110, section 5.6.2) may contain.
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

// isAlphanumeric marks the bytes that CGI keeps in a field name.
var isAlphanumeric = func() (t [256]bool) {
	for c, token := range isToken {
		t[c] = token && (c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z')
	}
	return t
}()

// nextField splits the first field off a header block that ends with an empty line. n is the length of the field's line, including CRLF; n == 0
// means that only the empty line is left.
func nextField(b []byte) (name, value []byte, n int, err error) {
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		return nil, nil, 0, nil
	}
	i := tokenLength(b)
	if i == 0 || i == len(b) || b[i] != ':' {
		return nil, nil, 0, ErrSyntax
	}
	end := bytes.IndexByte(b[i:], '\n')
	if end < 2 || b[i+end-1] != '\r' || !validValue(b[i+1:i+end-1]) {
		return nil, nil, 0, ErrSyntax
	}
	return b[:i], trimOWS(b[i+1 : i+end-1]), i + end + 1, nil
}

// plainField reports whether the line of n bytes at the beginning of b has the form name ":" [" "] value, without other whitespace. Whitespace
// around a value has no meaning (RFC 9110, section 5.5), but nginx and node refuse a tab after Content-Length, while other servers accept it.
// So the proxy rewrites such a line.
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

// copyFields appends to dst those fields in raw that the proxy passes on. It copies adjacent lines together if possible. It calls handle
// for each field that is not fieldOther; handle returns whether the field is passed on. In a second pass, copyFields also leaves out the
// fields that are named in options.
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

// validValue reports whether b is free of bytes that a field value must not contain: control characters other than HTAB (RFC 9110, section
// 5.5). Bytes above 0x7f are allowed. It checks eight bytes at a time.
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

// foldEqual reports whether a token equals a name, ignoring case. The name consists of lower-case letters and '-'.
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

// hasPrefixFold is like foldEqual, but compares only the beginning of a name.
func hasPrefixFold(name []byte, lower string) bool {
	return len(name) >= len(lower) && foldEqual(name[:len(lower)], lower)
}

// IsToken reports whether a token, such as a method, may contain a byte (RFC 9110, section 5.6.2).
func IsToken(c byte) bool { return isToken[c] }

// ValidValue reports whether b can be a field value: it has no control characters other than HTAB (RFC 9110, section 5.5).
func ValidValue(b []byte) bool { return validValue(b) }

// FieldValue returns the value of the first field with this name in the lines of a header or of trailers, or nil if there is none. The
// name must be in lower case.
func FieldValue(lines []byte, lower string) []byte {
	for raw := lines; ; {
		name, value, n, err := nextField(raw)
		if err != nil || n == 0 {
			return nil
		}
		if foldEqual(name, lower) {
			return value
		}
		raw = raw[n:]
	}
}

// AppendField appends a field; name ends with a colon and a space.
func AppendField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// hasToken reports whether a comma-separated list contains a token. It ignores parameters after ";".
func hasToken(list []byte, lower string) bool {
	for len(list) > 0 {
		var member []byte
		member, list, _ = bytes.Cut(list, []byte{','})
		member, _, _ = bytes.Cut(member, []byte{';'})
		if foldEqual(trimOWS(member), lower) {
			return true
		}
	}
	return false
}

package http2

import (
	"bytes"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"github.com/wayside-proxy/wayside/proxy/http1"
)

// This file encodes the headers and trailers that this side sends. Fields are encoded as literals without indexing, with names from the
// static table where possible (RFC 7541, section 6.2.2): nothing is kept for later, and requests and responses of different users never
// share compression state.

// appendRequest encodes the header of a request (RFC 9113, section 8.3.1). If upgrade is set, it becomes an extended CONNECT.
func appendRequest(dst, block []byte, scheme string, upgrade bool) []byte {
	line, fields, _ := bytes.Cut(block, []byte("\r\n"))
	method, target, _ := bytes.Cut(line, []byte{' '})
	target = bytes.TrimSuffix(target, []byte(" HTTP/1.1"))
	switch {
	case upgrade:
		dst = appendString(append(dst, 2), []byte("CONNECT"))
		dst = appendString(appendString(append(dst, 0), []byte(":protocol")), []byte("websocket"))
	case string(method) == "GET":
		dst = append(dst, 0x80|2)
	case string(method) == "POST":
		dst = append(dst, 0x80|3)
	default:
		dst = appendString(append(dst, 2), method)
	}
	if scheme == "https" {
		dst = append(dst, 0x80|7)
	} else {
		dst = append(dst, 0x80|6)
	}
	if string(target) == "/" {
		dst = append(dst, 0x80|4)
	} else {
		dst = appendString(append(dst, 4), target)
	}
	if host := http1.FieldValue(fields, "host"); len(host) > 0 {
		dst = appendString(append(dst, 1), host)
	}
	if upgrade { // with a Content-Length of 0, the data of the tunnel would be malformed (RFC 9113, section 8.1.1)
		return appendFields(dst, fields, "host", "sec-websocket-key", "content-length")
	}
	return appendFields(dst, fields, "host")
}

// appendResponse encodes the header of a response (RFC 9113, section 8.3.2).
func appendResponse(dst, block []byte) []byte {
	eol := bytes.IndexByte(block, '\n')
	return appendFields(appendStatus(dst, block[9:12]), block[eol+1:])
}

// appendFields encodes lines up to an empty line or the end. It omits the fields of the connection, and those named in except.
func appendFields(dst, lines []byte, except ...string) []byte {
	for len(lines) > 0 {
		eol := bytes.IndexByte(lines, '\n')
		colon := bytes.IndexByte(lines, ':')
		if eol < 0 || colon < 1 || colon > eol {
			break
		}
		name, value := lines[:colon], bytes.Trim(lines[colon+1:eol], " \t\r")
		lines = lines[eol+1:]
		if !ofConnection(name) && !slices.ContainsFunc(except, func(omitted string) bool { return strings.EqualFold(omitted, string(name)) }) {
			dst = appendField(dst, name, value)
		}
	}
	return dst
}

// ofConnection reports whether a field is specific to HTTP/1.1 connections and therefore not allowed in HTTP/2.
func ofConnection(name []byte) bool {
	for _, field := range [...]string{"connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade"} {
		if len(name) == len(field) && bytes.EqualFold(name, []byte(field)) {
			return true
		}
	}
	return false
}

// appendStatus encodes :status.
func appendStatus(dst, code []byte) []byte {
	switch string(code) {
	case "200", "101": // what HTTP/1.1 calls switching protocols, HTTP/2 calls success (RFC 8441, section 5)
		return append(dst, 0x80|8)
	case "204":
		return append(dst, 0x80|9)
	case "206":
		return append(dst, 0x80|10)
	case "304":
		return append(dst, 0x80|11)
	case "400":
		return append(dst, 0x80|12)
	case "404":
		return append(dst, 0x80|13)
	case "500":
		return append(dst, 0x80|14)
	}
	return append(append(dst, 8, 3), code...) // the name is entry 8 of the static table
}

// appendField encodes a field. Its name may have upper-case letters.
func appendField(dst, name, value []byte) []byte {
	var lower [64]byte
	n := append(lower[:0], name...)
	for i, c := range n {
		if c >= 'A' && c <= 'Z' {
			n[i] = c + 32
		}
	}
	if index := staticName(n); index > 0 {
		dst = appendInt(dst, 0, 4, index)
	} else {
		dst = appendString(append(dst, 0), n)
	}
	return appendString(dst, value)
}

// appendString encodes a string, compressed if that is shorter (RFC 7541, section 5.2).
func appendString(dst, b []byte) []byte {
	s := unsafe.String(unsafe.SliceData(b), len(b))
	if n := int(hpack.HuffmanEncodeLength(s)); n < len(b) {
		return hpack.AppendHuffmanString(appendInt(dst, 0x80, 7, n), s)
	}
	return append(appendInt(dst, 0, 7, len(b)), b...)
}

// appendInt encodes an integer with a prefix of the given number of bits (RFC 7541, section 5.1). first contains the bits before the
// prefix.
func appendInt(dst []byte, first byte, bits uint, n int) []byte {
	limit := 1<<bits - 1
	if n < limit {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(limit))
	for n -= limit; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// staticNames maps the names in the static table (RFC 7541, appendix A) to their index.
var staticNames = map[string]int{
	"accept-charset": 15, "accept-encoding": 16, "accept-language": 17, "accept-ranges": 18, "accept": 19, "access-control-allow-origin": 20,
	"age": 21, "allow": 22, "authorization": 23, "cache-control": 24, "content-disposition": 25, "content-encoding": 26,
	"content-language": 27, "content-length": 28, "content-location": 29, "content-range": 30, "content-type": 31, "cookie": 32, "date": 33,
	"etag": 34, "expect": 35, "expires": 36, "from": 37, "host": 38, "if-match": 39, "if-modified-since": 40, "if-none-match": 41,
	"if-range": 42, "if-unmodified-since": 43, "last-modified": 44, "link": 45, "location": 46, "max-forwards": 47, "proxy-authenticate": 48,
	"proxy-authorization": 49, "range": 50, "referer": 51, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55,
	"strict-transport-security": 56, "transfer-encoding": 57, "user-agent": 58, "vary": 59, "via": 60, "www-authenticate": 61,
}

func staticName(lower []byte) int { return staticNames[string(lower)] }

package http1

import (
	"bytes"
	"fmt"
)

// This file parses the lines in a chunked body (RFC 9112, section 7.1), and decides what happens to trailer fields.

// Limits on the chunk size and its line. Some senders pad the size with zeros to a fixed width. RFC 9112 sets no limit, but every line must
// end somewhere.
const (
	chunkDigitsMax = 256
	chunkSizeMax   = 1<<60 - 1
)

// parseChunkHeader parses chunk-size [ chunk-ext ] strictly. Extensions (RFC 9112, section 7.1.1) must be well formed. They are not passed on,
// because they are meant only for the next hop.
func parseChunkHeader(line []byte) (size int64, extensions int, err error) {
	i := 0
	for ; i < len(line); i++ {
		d, ok := hexDigit(line[i])
		if !ok {
			break
		}
		if i == chunkDigitsMax || size > chunkSizeMax>>4 {
			return 0, 0, fmt.Errorf("%w: chunk size", ErrBody)
		}
		size = size<<4 | int64(d)
	}
	if i == 0 {
		return 0, 0, fmt.Errorf("%w: chunk size", ErrBody)
	}
	if !validExtensions(line[i:]) {
		return 0, 0, fmt.Errorf("%w: chunk extension", ErrBody)
	}
	return size, len(line) - i, nil
}

func hexDigit(c byte) (d byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// validExtensions accepts *( ";" name [ "=" value ] ). A value is a token or a quoted string. Spaces and tabs may surround ";" and "=",
// but must not follow the last extension.
func validExtensions(b []byte) bool {
	for len(b) > 0 {
		if b = skipOWS(b); len(b) == 0 || b[0] != ';' {
			return false
		}
		n := tokenLength(skipOWS(b[1:]))
		if n == 0 {
			return false
		}
		b = skipOWS(b[1:])[n:]
		rest := skipOWS(b)
		if len(rest) == 0 || rest[0] != '=' {
			continue
		}
		rest = skipOWS(rest[1:])
		if n = tokenLength(rest); n == 0 {
			n = quotedLength(rest)
		}
		if n == 0 {
			return false
		}
		b = rest[n:]
	}
	return true
}

func skipOWS(b []byte) []byte { return bytes.TrimLeft(b, " \t") }

func tokenLength(b []byte) int {
	n := 0
	for n < len(b) && isToken[b[n]] {
		n++
	}
	return n
}

// quotedLength returns the length of the quoted string (RFC 9110, section 5.6.4) at the beginning of b, or 0.
func quotedLength(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(b) || !validValue(b[i:i+1]) {
				return 0
			}
		case c < ' ' && c != '\t' || c == 0x7f:
			return 0
		}
	}
	return 0
}

// trailerAction is what happens to a trailer field.
type trailerAction uint8

const (
	trailerPassed trailerAction = iota
	trailerDropped
	trailerRefused
)

// trailerRule applies RFC 9110, section 6.5.1: fields that frame, route, authenticate or control a message must not be trailers, where they
// would evade all checks of the header.
func trailerRule(name []byte) trailerAction {
	switch id := classify(name); {
	case id == fieldContentLength, id == fieldTransferEncoding, id == fieldHost:
		return trailerRefused
	case id != fieldOther:
		return trailerDropped
	}
	if foldEqual(name, "content-digest") {
		return trailerPassed // its value is known only at the end of the body (RFC 9530, section 2)
	}
	for _, prefix := range trailerPrefixes {
		if hasPrefixFold(name, prefix) {
			return trailerDropped
		}
	}
	for _, other := range trailerNames {
		if foldEqual(name, other) {
			return trailerDropped
		}
	}
	return trailerPassed
}

var (
	trailerPrefixes = []string{"content-", "x-forwarded-", "proxy-", "if-", "accept-", "access-control-", "sec-", "http2-"}
	trailerNames    = []string{
		"accept", "age", "allow", "authorization", "cache-control", "cookie", "expires", "location", "origin",
		"pragma", "range", "retry-after", "set-cookie", "vary", "via", "warning", "www-authenticate",
	}
)

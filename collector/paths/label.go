package paths

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

const upperHex = "0123456789ABCDEF"

// idPlaceholder replaces a segment that varies, or a part of one.
const idPlaceholder = "{id}"

// buildLabel appends the label of a path to dst. It stops soon after LabelBytesMax, so even an extremely long path costs little. host is
// the host under which the path is counted. proof means that the response proves that the route exists; the labeler learns only from such
// responses. grpc means that the path names a gRPC method, which can be replaced only by a configured template.
func (l *Labeler) buildLabel(dst, path []byte, host string, proof, grpc bool) []byte {
	l.plain = true
	// Queries and fragments are never recorded. If the path contains a query or a fragment, that part must not get into a label.
	if i := bytes.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	if len(path) == 0 {
		return append(dst, '/')
	}
	for i := range l.templates {
		if l.templates[i].match(path) {
			return append(dst, l.templates[i].text...)
		}
	}
	if grpc {
		return append(dst, path...)
	}
	if string(path) == Other || string(path) == Malformed { // these names are reserved
		return append(append(dst, "%28"...), path[1:]...)
	}
	for first := true; ; first = false {
		segment, rest, more := bytes.Cut(path, []byte{'/'})
		if first {
			dst = appendSegment(dst, segment)
		} else if dst = l.appendLearnt(dst, segment, rest, host, proof); len(dst) > LabelBytesMax {
			return dst
		}
		if !more || len(dst) > LabelBytesMax {
			return dst
		}
		path = rest
	}
}

// appendLearnt appends a slash and a segment, or a placeholder if the labeler has learned that this level varies.
//
// A date at the beginning of a longer path is more often an API version ("/2015-03-31/functions") than a value. If the dates at a level
// are values, there are many of them, and the level is learned like any other.
func (l *Labeler) appendLearnt(dst, segment, rest []byte, host string, proof bool) []byte {
	var v *level
	if len(l.levels) > 0 {
		l.key = append(append(append(l.key[:0], host...), 0), dst...)
		v = l.levels[string(l.key)]
	}
	version := len(dst) == 0 && len(rest) > 0 && isDate(segment)
	dst = append(dst, '/')
	start := len(dst)
	if version { // becomes a placeholder only after the level has been learned
		dst = append(dst, segment...)
	} else {
		dst = appendSegment(dst, segment)
	}
	text := dst[start:]
	if v == nil || len(text) == 0 || bytes.IndexByte(text, '{') >= 0 || !v.holds(string(text)) {
		return dst
	}
	l.plain = false
	if proof && l.watch(v, text, rest) {
		return dst
	}
	return append(dst[:start], idPlaceholder...)
}

// appendSegment appends one segment, or a placeholder if it is an identifier.
func appendSegment(dst, segment []byte) []byte {
	// Matrix parameters (";jsessionid=…") are values, and often secret.
	segment, _, params := bytes.Cut(segment, []byte{';'})
	switch stem, ext := splitExt(segment); {
	case isID(segment) && (len(ext) == 0 || !isID(stem) || bytes.IndexByte(segment, '@') >= 0):
		dst = append(dst, idPlaceholder...)
	case len(ext) > 0 && isID(stem): // "123.json", "9f3c….png"
		dst = append(dst, idPlaceholder...)
		dst = append(dst, ext...)
	default:
		dst = appendClean(dst, segment)
	}
	if params {
		dst = append(dst, ";"+idPlaceholder...)
	}
	return dst
}

// appendClean appends text in a form that is safe to print. It percent-encodes bytes that are not valid UTF-8,
// unprintable runes, and braces, which are reserved for placeholders.
func appendClean(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c <= ' ' || c == 0x7f || c == '{' || c == '}' {
				dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
			} else {
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r) {
			for _, c := range text[i : i+size] {
				dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
			}
		} else {
			dst = append(dst, text[i:i+size]...)
		}
		i += size
		if len(dst) > 4*LabelBytesMax {
			return dst // already too long
		}
	}
	return dst
}

// appendHost appends a host name in lower case, without the trailing dot, with unprintable bytes percent-encoded.
func appendHost(dst, host []byte) []byte {
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	for _, c := range host {
		switch {
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		case c <= ' ' || c >= 0x7f || c == '(' || c == '{' || c == '}':
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// splitExt splits off a file name extension: one to five letters and digits, of which the first is a letter.
func splitExt(segment []byte) (stem, ext []byte) {
	dot := bytes.LastIndexByte(segment, '.')
	if dot <= 0 || len(segment)-dot-1 > 5 || dot == len(segment)-1 {
		return segment, nil
	}
	for i, c := range segment[dot+1:] {
		if !isLetter(c) && (i == 0 || !isDigit(c)) {
			return segment, nil
		}
	}
	return segment[:dot], segment[dot:]
}

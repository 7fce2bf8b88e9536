package paths

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

const upperHex = "0123456789ABCDEF"

// idPlaceholder stands for a segment, or the part of one, that varies.
const idPlaceholder = "{id}"

// build appends the label of a path to dst. It stops soon after LabelBytesMax, so that a hostile path costs no more than a
// long one.
//
// host is the path's host in the statistics; proof says that the response proves the route, so that it may be learnt from.
func (l *Labeler) build(dst, path []byte, host string, proof bool) []byte {
	l.plain = true
	// A query or fragment is never recorded; if one came this far it must not become part of a row either.
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
	if string(path) == Other {
		return append(dst, "%28other)"...) // the name is taken
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

// appendLearnt appends a slash and a segment, as a placeholder where the level below dst was learnt to vary.
//
// A date that a path begins with, and that has something below it, is an API's version more often than a value
// ("/2015-03-31/functions"). Where it is a value after all there are many, and the level is learnt like any other.
func (l *Labeler) appendLearnt(dst, segment, rest []byte, host string, proof bool) []byte {
	var v *level
	if len(l.levels) > 0 {
		l.key = append(append(append(l.key[:0], host...), 0), dst...)
		v = l.levels[string(l.key)]
	}
	version := len(dst) == 0 && len(rest) > 0 && isDate(segment)
	dst = append(dst, '/')
	start := len(dst)
	if version { // left to what is learnt
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

// appendSegment appends one segment: its text, or a placeholder where it is an identifier.
func appendSegment(dst, segment []byte) []byte {
	// Matrix parameters (";jsessionid=…") are values, often secret ones.
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

// appendClean appends text that is safe to print: what is not valid UTF-8 or not printable is percent-encoded, and so are
// braces, which only placeholders may have.
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
			return dst // too long whatever follows
		}
	}
	return dst
}

// appendHost appends a host name as it is counted: lower case, without the final dot, printable.
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

// splitExt splits a file name extension of one to five letters and digits, starting with a letter, off a segment.
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

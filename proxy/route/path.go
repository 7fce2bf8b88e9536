package route

import (
	"bytes"
	"math/bits"
	"strings"
)

// reading is a set of ways to interpret a path differently from the normal form. The zero reading is the normal form.
type reading uint8

const (
	slashEscapes reading = 1 << iota // %2F separates segments
	backslashes                      // "\" and %5C separate segments
	parameters                       // ";" begins a parameter, which ends with the segment and is not part of it
	endings                          // NUL, %3F and %23 end the path
	parentsKept                      // ".." is an ordinary segment
	mergedLast                       // ".." is resolved before repeated slashes are merged, so it can remove an empty segment
)

// Limits on paths that allow several readings. No honest client exceeds them; a path that does is refused.
const (
	choicesMax   = 5 // kinds of ambiguity plus number of ".." segments; each doubles the work
	decodingsMax = 3 // decodings that change the path: %252541 needs three
	lengthMax    = 2048
)

// inspect reports whether a path is already in normal form, and which readings may interpret it differently. escaped means that the path
// has escapes which themselves encode escapes (%2541).
func inspect(path []byte) (plain bool, may reading, escaped bool) {
	plain = true
	before := byte(0) // the previous byte, decoded; '/' for all separators
	twoDots, emptySegment := false, false
	for i := 0; i < len(path); {
		c, n := path[i], 1
		switch c {
		case '%':
			c, n = decode(path[i:])
			plain = false
			may |= ofEscape(c)
			escaped = escaped || c == '%'
		case '\\':
			may |= backslashes
		case ';':
			may |= parameters
		case '.', '/':
			plain = plain && before != '/'
		}
		i += n
		if c == '\\' {
			c = '/'
		}
		twoDots = twoDots || c == '.' && before == '.'
		emptySegment = emptySegment || before == '/' && (c == '/' || c == ';')
		before = c
	}
	if twoDots {
		may |= parentsKept
		if emptySegment {
			may |= mergedLast
		}
	}
	return plain, may, escaped
}

// ofEscape returns the readings that an escape of c allows.
func ofEscape(c byte) reading {
	switch c {
	case '/':
		return slashEscapes
	case '\\':
		return backslashes
	case ';':
		return parameters
	case 0, '?', '#':
		return endings
	}
	return 0
}

// decode returns the byte that the escape at the beginning of b encodes, and the length of the escape. A "%" that does not begin an escape counts
// as an ordinary byte.
func decode(b []byte) (c byte, n int) {
	if c, ok := unhex(b[1:]); ok {
		return c, 3
	}
	return '%', 1
}

// validEscapes reports whether each "%" begins an escape.
func validEscapes(path []byte) bool {
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		if _, ok := unhex(path[i+1:]); !ok {
			return false
		}
		i += 2
	}
	return true
}

// appendUnescaped appends a path after one decoding, as a second server would see it: escaped escapes become escapes. It keeps the escapes whose
// meaning depends on the reading.
func appendUnescaped(dst, path []byte) []byte {
	for i := 0; i < len(path); {
		c, n := path[i], 1
		if c == '%' {
			if c, n = decode(path[i:]); ofEscape(c) != 0 {
				dst = append(dst, path[i:i+n]...)
				i += n
				continue
			}
		}
		i += n
		dst = append(dst, c)
	}
	return dst
}

func unhex(b []byte) (byte, bool) {
	if len(b) < 2 {
		return 0, false
	}
	high, low := hexDigits[b[0]], hexDigits[b[1]]
	return high<<4 | low, high < 16 && low < 16
}

// hexDigits contains the value of each hexadecimal digit, and 16 for other bytes.
var hexDigits = func() (t [256]byte) {
	for c := range t {
		t[c] = 16
	}
	for i := range byte(16) {
		t["0123456789abcdef"[i]] = i
		t["0123456789ABCDEF"[i]] = i
	}
	return t
}()

// appendForm appends a path in the form that a reading gives it. The path begins with "/".
func appendForm(dst, path []byte, r reading) []byte {
	start := len(dst)
	dst = append(dst, '/')
	segment, parameter := len(dst), false
	for i := 1; i < len(path); {
		c, n, escape := path[i], 1, path[i] == '%'
		if escape {
			c, n = decode(path[i:])
		}
		i += n
		switch {
		case c == '/' && (!escape || r&slashEscapes != 0), c == '\\' && r&backslashes != 0:
			dst = endSegment(dst, start, segment, r, true)
			segment, parameter = len(dst), false
		case c == ';' && r&parameters != 0:
			parameter = true
		case escape && r&endings != 0 && (c == 0 || c == '?' || c == '#'):
			i = len(path)
		case parameter:
		case escape && c == '/':
			dst = append(dst, "%2F"...)
		case escape && c == '%':
			dst = append(dst, "%25"...)
		default:
			dst = append(dst, c)
		}
	}
	dst = endSegment(dst, start, segment, r, false)
	if r&mergedLast != 0 {
		dst = append(dst[:start], mergeSlashes(dst[start:])...)
	}
	return dst
}

// endSegment is called after a segment. The path begins at start, and the segment at segment.
func endSegment(dst []byte, start, segment int, r reading, separator bool) []byte {
	switch text := dst[segment:]; {
	case len(text) == 0 && r&mergedLast == 0, string(text) == ".":
		return dst[:segment]
	case string(text) == ".." && r&parentsKept == 0:
		parent := bytes.LastIndexByte(dst[start:segment-1], '/') // -1 at the root, which is its own parent
		return dst[:start+max(parent, 0)+1]
	}
	if separator {
		dst = append(dst, '/')
	}
	return dst
}

// countParents counts the ".." segments, whether escaped or not.
func countParents(path []byte) (n int) {
	for at := 1; at <= len(path); {
		length := segmentLength(path[at:])
		if meansName(path[at:at+length], "..") {
			n++
		}
		at += length + 1
	}
	return n
}

// appendResolved appends a path without decoding it, with some ".." segments resolved: those whose bit is set in which, counted from the left.
func appendResolved(dst, path []byte, which int) []byte {
	start := len(dst)
	dst = append(dst, '/')
	for at := 1; at <= len(path); {
		n := segmentLength(path[at:])
		segment := path[at : at+n]
		at += n + 1
		resolve := false
		if meansName(segment, "..") {
			resolve = which&1 != 0
			which >>= 1
		}
		switch {
		case n == 0 || meansName(segment, "."):
		case resolve:
			parent := bytes.LastIndexByte(dst[start:max(len(dst)-1, start)], '/')
			dst = dst[:start+max(parent, 0)+1]
		default:
			dst = append(dst, segment...)
			if at <= len(path) {
				dst = append(dst, '/')
			}
		}
	}
	return dst
}

func mergeSlashes(path []byte) []byte {
	merged := path[:0]
	for i, c := range path {
		if i == 0 || c != '/' || path[i-1] != '/' {
			merged = append(merged, c)
		}
	}
	return merged
}

// kinds returns the number of kinds of ambiguity.
func (r reading) kinds() int { return bits.OnesCount8(uint8(r)) }

// CutPrefix returns the length of the part at the beginning of a path that is equivalent to prefix, or 0 if the path does not begin with it. prefix
// is in normal form, begins with "/" and does not end with "/". Slashes after the prefix are included in that length, except the last one: the
// rest of the path is empty or begins with exactly one slash.
func CutPrefix(path []byte, prefix string) int {
	at := 0
	for len(prefix) > 0 {
		if at >= len(path) || path[at] != '/' {
			return 0
		}
		want, _, _ := strings.Cut(prefix[1:], "/")
		n := segmentLength(path[at+1:])
		switch segment := path[at+1 : at+1+n]; {
		case meansName(segment, want):
			prefix = prefix[1+len(want):]
		case n > 0 && !meansName(segment, "."):
			return 0
		}
		at += 1 + n
	}
	for at+1 < len(path) && path[at+1] == '/' {
		at++
	}
	return at
}

func segmentLength(path []byte) int {
	if n := bytes.IndexByte(path, '/'); n >= 0 {
		return n
	}
	return len(path)
}

// meansName reports whether a segment equals name after decoding.
func meansName(segment []byte, name string) bool {
	i := 0
	for at := 0; at < len(segment); i++ {
		c, n := segment[at], 1
		if c == '%' {
			c, n = decode(segment[at:])
		}
		if i >= len(name) || name[i] != c {
			return false
		}
		at += n
	}
	return i == len(name)
}

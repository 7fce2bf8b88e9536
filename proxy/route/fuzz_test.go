package route

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// fuzzList returns routes at several depths, so that most changes to a path lead to a different route.
func fuzzList(t testing.TB) *List {
	return mustNew(t, Conditions{Path: "/a/b/*"}, Conditions{Path: "/a/b"}, Conditions{Path: "/a/*"}, Conditions{Path: "/a b/é/*"}, Conditions{Path: "/"},
		Conditions{Path: "/a.b/..c"}, Conditions{Path: "/A/*"}, Conditions{})
}

// FuzzPath: no path makes Match panic, and all spellings of a path that are equivalent by RFC 3986, section 6.2.2, have the same result.
func FuzzPath(f *testing.F) {
	for _, l := range loadCorpus(f).Lists {
		for i, c := range l.Cases {
			path, _, _ := strings.Cut(c.Target, "?")
			f.Add([]byte(path), uint64(i))
		}
	}
	l := fuzzList(f)
	f.Fuzz(func(t *testing.T, path []byte, seed uint64) {
		s := &Scratch{}
		index, err := l.Match(&Request{Path: path}, s)
		if len(path) == 0 || path[0] != '/' {
			return
		}
		if !validEscapes(path) || 3*len(path) > lengthMax/2 { // leave room, because the other spellings are longer
			return
		}
		r := rand.New(rand.NewPCG(seed, 0))
		spelt := respell(r, path)
		again, errAgain := l.Match(&Request{Path: spelt}, s)
		if again != index || err != errAgain {
			t.Errorf("%q: %d, %v; the same as %q: %d, %v", path, index, err, spelt, again, errAgain)
		}
		filled := fill(r, spelt)
		again, errAgain = l.Match(&Request{Path: filled}, s)
		if errAgain != nil && bytes.Count(dots(path), []byte("..")) > 0 { // servers disagree about "//.."
			return
		}
		if again != index || err != errAgain {
			t.Errorf("%q: %d, %v; the same as %q: %d, %v", path, index, err, filled, again, errAgain)
		}
	})
}

// dots decodes a path completely.
func dots(path []byte) []byte {
	for {
		next := appendUnescaped(nil, path)
		if len(next) == len(path) {
			return next
		}
		path = next
	}
}

// respell randomly replaces bytes with their escapes, and escapes of unreserved bytes with the bytes. Separators and "%" stay the same.
func respell(r *rand.Rand, path []byte) (out []byte) {
	const digits, upper = "0123456789abcdef", "0123456789ABCDEF"
	for i := 0; i < len(path); {
		c, n := path[i], 1
		if c == '%' {
			c, n = decode(path[i:])
		}
		text := path[i : i+n]
		i += n
		unreserved := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
		switch {
		case !unreserved && n == 1, r.IntN(2) == 0 && n == 1, c == '%':
			out = append(out, text...)
		case unreserved && n == 3 && r.IntN(2) == 0:
			out = append(out, c)
		default:
			table := digits
			if r.IntN(2) == 0 {
				table = upper
			}
			out = append(out, '%', table[c>>4], upper[c&15])
		}
	}
	return out
}

// fill adds segments without meaning: empty ones and ".".
func fill(r *rand.Rand, path []byte) (out []byte) {
	for _, c := range path {
		out = append(out, c)
		if c == '/' && r.IntN(3) == 0 {
			out = append(out, []string{"/", "./", "%2e/", ".//"}[r.IntN(4)]...)
		}
	}
	return out
}

// FuzzHost: no host makes Match panic, and case, port and a trailing dot make no difference.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"example.org", "a.example.org:80", "[::1]:8080", "a..b", "%41", ".", "", "[", "EXAMPLE.ORG."} {
		f.Add(host)
	}
	l := mustNew(f, Conditions{Host: "example.org"}, Conditions{Host: "*.example.org"}, Conditions{Host: "::1"}, Conditions{Host: "192.0.2.1"})
	f.Fuzz(func(t *testing.T, host string) {
		s := &Scratch{}
		index, err := l.Match(&Request{Host: []byte(host)}, s)
		name := strings.ContainsAny(host, ":[")
		upper, lower := strings.ToUpper(host), strings.ToLower(host)
		for _, other := range []string{upper, lower, host + ".", host + ":80", host + ".:80"} {
			if name || host == "" || strings.HasSuffix(host, ".") || strings.ToLower(upper) != lower { // some letters have no way back
				continue
			}
			if again, errAgain := l.Match(&Request{Host: []byte(other)}, s); again != index || errAgain != err {
				t.Errorf("%q: %d, %v; %q: %d, %v", host, index, err, other, again, errAgain)
			}
		}
	})
}

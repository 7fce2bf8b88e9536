package route

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readers interpret a path like various kinds of services. They are written without the code of this package.
var readers = map[string]func(string) string{
	"decodes and cleans": func(p string) string { return clean(unescape(p)) },
	"cleans and decodes": func(p string) string { return flat(unescape(clean(p))) },
	"does not go up":     func(p string) string { return flat(unescape(p)) },
	"drops parameters":   func(p string) string { return clean(unescape(parameter.ReplaceAllString(p, ""))) },
	"decodes parameters": func(p string) string { return clean(parameter.ReplaceAllString(unescape(p), "")) },
	"windows":            func(p string) string { return clean(strings.ReplaceAll(unescape(p), `\`, "/")) },
	"browser": func(p string) string {
		return flat(unescape(clean(dot.ReplaceAllString(strings.ReplaceAll(p, `\`, "/"), "."))))
	},
	"decodes twice":  func(p string) string { return clean(unescape(unescape(p))) },
	"decodes thrice": func(p string) string { return clean(unescape(unescape(unescape(p)))) },
	"opens files": func(p string) string {
		p, _, _ = strings.Cut(unescape(p), "\x00")
		return clean(p)
	},
	"splits late": func(p string) string {
		p, _, _ = strings.Cut(unescape(p), "?")
		p, _, _ = strings.Cut(p, "#")
		return clean(p)
	},
	"merges last": func(p string) string {
		resolved := (&url.URL{Path: "/"}).ResolveReference(&url.URL{Path: unescape(p)}) // RFC 3986, section 5.2.4
		return flat(resolved.Path)
	},
	"second proxy": func(p string) string { return clean(unescape(flat(unescape(p)))) },
}

var (
	parameter = regexp.MustCompile(`(?s);[^/]*`)
	dot       = regexp.MustCompile(`(?i)%2e`)
	slashes   = regexp.MustCompile(`/+`)
	here      = regexp.MustCompile(`/(\./)+`)
)

func unescape(p string) string {
	if decoded, err := url.PathUnescape(p); err == nil {
		return decoded
	}
	return p
}

// clean resolves "." and "..", and merges slashes. A slash at the end stays.
func clean(p string) string {
	last := p[strings.LastIndexByte(p, '/')+1:]
	cleaned := path.Clean("/" + p)
	if (last == "" || last == "." || last == "..") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}

// flat merges slashes and removes ".".
func flat(p string) string {
	p = here.ReplaceAllString(slashes.ReplaceAllString(p, "/"), "/")
	if rest, ok := strings.CutSuffix(p, "/."); ok {
		p = rest + "/"
	}
	return p
}

// FuzzReaders: if a path is not refused, all readers find the same route for it. Paths with a "%" that does not begin an escape are never
// forwarded.
func FuzzReaders(f *testing.F) {
	for _, l := range loadCorpus(f).Lists {
		for _, c := range l.Cases {
			p, _, _ := strings.Cut(c.Target, "?")
			f.Add(p)
		}
	}
	conditions := []string{"/a/b/*", "/a/*", "/admin/*", "/static/*", "/closed", "/x/y", "/api/internal/*", "/api/*", "/c/*"}
	list := make([]Conditions, 0, len(conditions))
	for _, p := range conditions {
		list = append(list, Conditions{Path: p})
	}
	l := mustNew(f, list...)
	naive := func(p string) int {
		return slices.IndexFunc(conditions, func(c string) bool {
			base, prefix := strings.CutSuffix(c, "/*")
			return p == base || prefix && strings.HasPrefix(p, base+"/")
		})
	}
	f.Fuzz(func(t *testing.T, p string) {
		if p == "" || p[0] != '/' || !validEscapes([]byte(p)) || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '?' || r == '#' }) {
			return // not a path of a request
		}
		index, err := l.Match(&Request{Path: []byte(p)}, &Scratch{})
		if err != nil {
			return
		}
		for name, read := range readers {
			if got := naive(read(p)); got != index {
				t.Errorf("%q: route %d; a service that %s reads %q: route %d", p, index, name, read(p), got)
			}
		}
	})
}

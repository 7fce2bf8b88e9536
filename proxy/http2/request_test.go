package http2_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/proxy/http2"
)

func with(base []string, more ...string) []string { return append(slices.Clone(base), more...) }

// replaced returns base with a different value for a field; "" removes the field.
func replaced(base []string, name, value string) []string {
	all := slices.Clone(base)
	i := slices.Index(all, name)
	if value == "" {
		return slices.Delete(all, i, i+2)
	}
	all[i+1] = value
	return all
}

func TestRequestBecomesHeaderBlock(t *testing.T) {
	for name, test := range map[string]struct {
		fields []string
		end    bool
		want   string
	}{
		"plain":           {get, true, "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n"},
		"query":           {replaced(get, ":path", "/a?b=%20c"), true, "GET /a?b=%20c HTTP/1.1\r\nhost: example.org\r\n\r\n"},
		"fields in order": {with(get, "b", "2", "a", "1", "b", "3"), true, "GET / HTTP/1.1\r\nb: 2\r\na: 1\r\nb: 3\r\nhost: example.org\r\n\r\n"},
		"empty value":     {with(get, "a", ""), true, "GET / HTTP/1.1\r\na: \r\nhost: example.org\r\n\r\n"},
		"Host only":       {with(replaced(get, ":authority", ""), "host", "h"), true, "GET / HTTP/1.1\r\nhost: h\r\n\r\n"},
		"Host as well":    {with(get, "host", "EXAMPLE.org"), true, "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n"},
		"cookies":         {with(get, "cookie", "a=b", "x", "y", "cookie", "c=d"), true, "GET / HTTP/1.1\r\nx: y\r\nhost: example.org\r\ncookie: a=b; c=d\r\n\r\n"},
		"te":              {with(get, "te", "trailers"), true, "GET / HTTP/1.1\r\nte: trailers\r\nhost: example.org\r\n\r\n"},
		"asterisk":        {replaced(replaced(get, ":method", "OPTIONS"), ":path", "*"), true, "OPTIONS * HTTP/1.1\r\nhost: example.org\r\n\r\n"},
		"no body":         {post, true, "POST / HTTP/1.1\r\nhost: example.org\r\ncontent-length: 0\r\n\r\n"},
		"body":            {post, false, "POST / HTTP/1.1\r\nhost: example.org\r\ntransfer-encoding: chunked\r\n\r\n"},
		"declared body":   {with(post, "content-length", "5"), false, "POST / HTTP/1.1\r\ncontent-length: 5\r\nhost: example.org\r\n\r\n"},
		"https":           {replaced(get, ":scheme", "https"), true, "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := requestOf(t, test.end, test.fields...)
			if s.Err != nil || string(s.Head) != test.want || s.Complete() != test.end {
				t.Fatalf("%q, error %v; want %q", s.Head, s.Err, test.want)
			}
			r := http1.Request{Raw: s.Head}
			r.Length = -1
			if _, err := r.Rewrite(nil, &http1.Peer{}, &http1.RequestOptions{}); err != nil {
				t.Fatalf("http1 refuses %q: %v", s.Head, err)
			}
		})
	}
}

func TestMalformedRequests(t *testing.T) {
	for name, test := range map[string]struct {
		fields []string
		want   error
	}{
		"no method":                {replaced(get, ":method", ""), http1.ErrSyntax},
		"no scheme":                {replaced(get, ":scheme", ""), http1.ErrSyntax},
		"no path":                  {replaced(get, ":path", ""), http1.ErrSyntax},
		"method twice":             {with(get, ":method", "GET"), http1.ErrSyntax},
		"pseudo-field behind":      {[]string{":method", "GET", "a", "b", ":scheme", "http", ":path", "/"}, http1.ErrSyntax},
		"unknown pseudo-field":     {with(get, ":secret", "x"), http1.ErrSyntax},
		":status":                  {with(get, ":status", "200"), http1.ErrSyntax},
		"path with space":          {replaced(get, ":path", "/a b"), http1.ErrTarget},
		"path with CR LF":          {replaced(get, ":path", "/ HTTP/1.1\r\nx: y\r\n\r\nGET /"), http1.ErrTarget},
		"absolute path":            {replaced(get, ":path", "http://other/"), http1.ErrTarget},
		"asterisk":                 {replaced(get, ":path", "*"), http1.ErrTarget},
		"method with space":        {replaced(get, ":method", "GET /admin HTTP/1.1\r\nx:"), http1.ErrSyntax},
		"other scheme":             {replaced(get, ":scheme", "ftp"), http1.ErrSyntax},
		"authority with space":     {replaced(get, ":authority", "a b"), http1.ErrSyntax},
		"authority with CR LF":     {replaced(get, ":authority", "a\r\nx: y"), http1.ErrSyntax},
		"Host differs":             {with(get, "host", "other"), http1.ErrSyntax},
		"Host twice":               {with(get, "host", "example.org", "host", "example.org"), http1.ErrSyntax},
		"upper case":               {with(get, "X-A", "b"), http1.ErrSyntax},
		"empty name":               {with(get, "", "b"), http1.ErrSyntax},
		"colon in name":            {with(get, "a:b", "c"), http1.ErrSyntax},
		"space in name":            {with(get, "a b", "c"), http1.ErrSyntax},
		"CR LF in name":            {with(get, "a\r\nb", "c"), http1.ErrSyntax},
		"CR LF in value":           {with(get, "a", "b\r\nc: d"), http1.ErrSyntax},
		"LF in value":              {with(get, "a", "b\nc"), http1.ErrSyntax},
		"NUL in value":             {with(get, "a", "b\x00c"), http1.ErrSyntax},
		"space before value":       {with(get, "a", " b"), http1.ErrSyntax},
		"tab behind value":         {with(get, "a", "b\t"), http1.ErrSyntax},
		"CR LF in cookie":          {with(get, "cookie", "a\r\nb: c"), http1.ErrSyntax},
		"CR LF in host":            {with(replaced(get, ":authority", ""), "host", "a\r\nb: c"), http1.ErrSyntax},
		"connection":               {with(get, "connection", "close"), http1.ErrSyntax},
		"keep-alive":               {with(get, "keep-alive", "1"), http1.ErrSyntax},
		"proxy-connection":         {with(get, "proxy-connection", "close"), http1.ErrSyntax},
		"transfer-encoding":        {with(get, "transfer-encoding", "chunked"), http1.ErrSyntax},
		"upgrade":                  {with(get, "upgrade", "websocket"), http1.ErrSyntax},
		"te":                       {with(get, "te", "gzip"), http1.ErrSyntax},
		"content-length twice":     {with(get, "content-length", "0", "content-length", "0"), http1.ErrFraming},
		"content-length list":      {with(get, "content-length", "1, 1"), http1.ErrFraming},
		"content-length signed":    {with(get, "content-length", "+1"), http1.ErrFraming},
		"content-length, no body":  {with(get, "content-length", "1"), http1.ErrFraming},
		"CONNECT":                  {[]string{":method", "CONNECT", ":authority", "a:1"}, http1.ErrMethod},
		"CONNECT with path":        {replaced(get, ":method", "CONNECT"), http1.ErrSyntax},
		"fields too large":         {with(get, "a", strings.Repeat("b", 33<<10)), http1.ErrHeaderSize},
		"too many fields":          {with(get, slices.Repeat([]string{"a", "b"}, 1100)...), http1.ErrHeaderSize},
		"too large and malformed":  {with(get, "A", "", "a", strings.Repeat("b", 33<<10)), http1.ErrSyntax},
		"nothing but other fields": {[]string{"a", "b"}, http1.ErrSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, http2.Limits{})
			block := slices.Clone(p.fields(test.fields...))
			first := min(len(block), 16384)
			p.ok(p.f.WriteRawFrame(0x1, 0x1, 1, block[:first]))
			for block = block[first:]; len(block) > 0; block = block[min(len(block), 16384):] {
				p.ok(p.f.WriteContinuation(1, false, block[:min(len(block), 16384)]))
			}
			p.ok(p.f.WriteContinuation(1, true, nil))
			if _, err := p.feed(); err != nil {
				t.Fatal(err)
			}
			s := p.streams[1]
			if !errors.Is(s.Err, test.want) {
				t.Fatalf("error %v, want %v", s.Err, test.want)
			}
			if n := strings.Count(string(s.Head), "\r\n\r\n"); n > 1 || n == 1 && !strings.HasSuffix(string(s.Head), "\r\n\r\n") {
				t.Fatalf("more than one header block: %q", s.Head)
			}
			p.c.WriteHead(s, []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), true)
			p.c.Release(s, http2.CodeCancel)
			p.expectOut("HEADERS 1 end=true :status=400 content-length=0", "RST_STREAM 1 PROTOCOL_ERROR")
			p.headers(3, true, get...) // works only if the compression state is the same as the peer's
			p.expect(`request 3 "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n" end=true err=<nil>`)
		})
	}
}

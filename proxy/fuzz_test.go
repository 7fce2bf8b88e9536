package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/proxy/http1"
	"github.com/wayside-proxy/wayside/test/httpcorpus"
)

// fuzzedConn returns a client connection from which data can be read.
func fuzzedConn(t testing.TB, p *Proxy, data []byte) *exchange {
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	c := newClientConn(p.current.Load(), near, goroutines{}, listenerPlain)
	c.br = bufio.NewReaderSize(bytes.NewReader(data), clientReadBytes)
	c.x = newExchange()
	c.x.attach(c)
	c.x.begin()
	return c.x
}

func fuzzedProxy(f *testing.F) *Proxy {
	p, err := New(Options{Upstream: "http://127.0.0.1:1"})
	if err != nil {
		f.Fatal(err)
	}
	return p
}

// FuzzRequestHead looks for a request whose forwarded header net/http or fasthttp interprets differently from the proxy.
func FuzzRequestHead(f *testing.F) {
	for _, r := range httpcorpus.Requests() {
		f.Add([]byte(r.Raw))
	}
	f.Add([]byte("\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nX: 1\r\n\r\n"))
	f.Add([]byte("OPTIONS http://[::1]:80 HTTP/1.0\r\nTE: trailers\r\nTrailer: X\r\nExpect: 100-continue\r\n\r\n"))
	p := fuzzedProxy(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		x := fuzzedConn(t, p, data)
		if x.c.readHead() != nil {
			return
		}
		out, err := x.appendRequestHead(nil)
		if err != nil {
			return
		}
		h := &x.req.Request
		br := bufio.NewReader(bytes.NewReader(out))
		req, err := http.ReadRequest(br)
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse ") {
				return // net/http decodes the path, but the proxy does not
			}
			t.Fatalf("%q is not readable: %v", out, err)
		}
		length := max(h.Length, 0)
		if h.Chunked {
			length = -1
		}
		if req.Method != string(h.Method) || req.RequestURI != string(h.Target) || req.ContentLength != length ||
			h.Chunked != (len(req.TransferEncoding) == 1) {
			t.Fatalf("%q: read as %+v", out, req)
		}
		for _, name := range []string{"Keep-Alive", "Upgrade", "Proxy-Connection", "Proxy-Authorization", "Transfer-Encoding"} {
			if req.Header[name] != nil {
				t.Fatalf("%q: %s passed", out, name)
			}
		}
		second(t, out, h)
	})
}

// second parses the header with fasthttp.
func second(t *testing.T, out []byte, h *http1.Request) {
	var again fasthttp.RequestHeader
	again.DisableNormalizing()
	br := bufio.NewReaderSize(bytes.NewReader(out), 1<<17)
	if err := again.Read(br); err != nil {
		t.Fatalf("%q is not readable: %v", out, err)
	}
	if br.Buffered() != 0 {
		t.Fatalf("%q holds more than one header", out)
	}
	if chunked := bytes.Equal(again.Peek("Transfer-Encoding"), []byte("chunked")); chunked != h.Chunked {
		t.Fatalf("%q: framing differs", out)
	}
	if !h.Chunked && h.Length >= 0 && int64(again.ContentLength()) != h.Length {
		t.Fatalf("%q: length differs", out)
	}
}

// FuzzResponseHead looks for a response whose forwarded header net/http interprets differently from the proxy.
func FuzzResponseHead(f *testing.F) {
	for _, r := range httpcorpus.Responses() {
		f.Add([]byte(r.Raw))
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nConnection: x\r\nX: 1\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.0 304\r\nTrailer: x\r\nDate: now\r\n\r\n"))
	p := fuzzedProxy(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		x := fuzzedConn(t, p, nil)
		x.resp.Reset()
		block, err := x.resp.next(bufio.NewReaderSize(bytes.NewReader(data), upstreamReadBytes))
		if err != nil || x.parseHead(block) != nil || x.resp.Status < 200 {
			return
		}
		x.endHead()
		br := bufio.NewReaderSize(bytes.NewReader(x.reply.buf), 1<<17)
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodHead})
		if err != nil {
			t.Fatalf("%q is not readable: %v", x.reply.buf, err)
		}
		if resp.StatusCode != x.resp.Status || len(resp.TransferEncoding) != 0 || br.Buffered() != 0 {
			t.Fatalf("%q: read as %+v", x.reply.buf, resp)
		}
		if x.resp.Length >= 0 && x.resp.Status != 204 && x.resp.Status != 304 && resp.ContentLength != x.resp.Length {
			t.Fatalf("%q: length differs", x.reply.buf)
		}
	})
}

// onlyHere matches chunk headers that the grammar allows (RFC 9112, section 7.1) but net/http refuses: those with spaces before an extension, or with
// more than 16 digits. The proxy passes on neither.
var onlyHere = regexp.MustCompile(`[0-9a-fA-F][ \t]+;|[0-9a-fA-F]{17}`)

// FuzzChunkedBody decodes arbitrary bytes as a chunked body, with next and with Read, and compares the result with net/http's: a body that the proxy
// accepts must have the same data and the same end for net/http.
func FuzzChunkedBody(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\nrest"))
	f.Add([]byte("3 ; x = \"\\\"y\";z\r\nabc\r\n00\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte("fffffffffffffff\r\nabc"))
	f.Add([]byte("10000000000000003\r\nabc\r\n0\r\n\r\n")) // 2^64 + 3
	f.Fuzz(func(t *testing.T, data []byte) {
		var r bodyReader
		r.reset(bufio.NewReaderSize(bytes.NewReader(data), clientReadBytes), http1.Chunks, 0)
		got, err := io.ReadAll(&r)
		var pieces []byte
		var s bodyReader
		s.reset(bufio.NewReaderSize(bytes.NewReader(data), clientReadBytes), http1.Chunks, 0)
		var pieceErr error
		for pieceErr == nil {
			var b []byte
			b, pieceErr = s.next(100)
			pieces = append(pieces, b...)
		}
		if (pieceErr == io.EOF) != (err == nil) || !bytes.Equal(pieces, got) || !bytes.Equal(s.Trailers(), r.Trailers()) {
			t.Fatalf("%q: read as %q %v, in pieces %q %v", data, got, err, pieces, pieceErr)
		}
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r.br)
		raw := append([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), data...)
		br := bufio.NewReader(bytes.NewReader(raw))
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(req.Body)
		if err != nil && onlyHere.Match(data) {
			return
		}
		if err != nil || !bytes.Equal(want, got) {
			t.Fatalf("%q: %q, net/http %q %v", data, got, want, err)
		}
		if wantRest, _ := io.ReadAll(br); !bytes.Equal(rest, wantRest) {
			t.Fatalf("%q: ends before %q, in net/http before %q", data, rest, wantRest)
		}
	})
}

package admin

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// FuzzForward looks for a request that the books process would read differently than the traffic process: with another end, another
// path, an internal path, or the token.
func FuzzForward(f *testing.F) {
	for _, c := range frontCases {
		f.Add(c.raw)
	}
	for _, raw := range []string{
		"GET /snapshot HTTP/1.1\r\nhost:localhost:loccept-encoding:gzip\r\n\r\n",
		"GET /internal/view HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /%69nternal/view HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /internal%2fview HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /x/../internal/view HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET //internal//view HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET http://localhost/internal/view HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /-/job/clean?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET /api/v1/paths HTTP/1.1\r\nHost: localhost\r\nAccept: a\r\n b\r\nUser-Agent: x\nContent-Length: 5\r\n\r\n",
		"GET /api/v1/paths?q=\xff HTTP/1.0\r\nAccept: text/csv\r\nAuthorization: Bearer secret\r\n\r\n",
		"DELETE /api/v1/paths HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		f.Add(raw)
	}
	s := New(Options{Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, raw string) {
		var ctx fasthttp.RequestCtx
		ctx.Init2(sink{}, quietLogger{s.opt.Logger}, false)
		if len(raw) > 8<<10 || ctx.Request.ReadLimitBody(bufio.NewReader(strings.NewReader(raw)), 64<<10) != nil {
			return
		}
		q := request{s: s, ctx: &ctx, running: context.Background()}
		if !q.parse() || !q.welcome() || !q.reads() && !ctx.IsPost() {
			return
		}
		if _, known := q.route(); known || q.under(InternalPrefix) {
			return
		}
		sent := q.forward()
		in := bufio.NewReader(bytes.NewReader(sent))
		got, err := http.ReadRequest(in)
		if err != nil {
			if strings.Contains(err.Error(), "invalid URI") || strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "cannot parse") || strings.Contains(err.Error(), "net/url") {
				return // the books process rejects it
			}
			t.Fatalf("%q: net/http does not take %q: %v", raw, sent, err)
		}
		body, err := io.ReadAll(got.Body)
		rest, _ := io.ReadAll(in)
		if err != nil || len(rest) > 0 || !bytes.Equal(body, ctx.Request.Body()) {
			t.Fatalf("%q: in %q net/http finds the body %q and %q behind it, %v", raw, sent, body, rest, err)
		}
		if got.Method != string(ctx.Method()) || got.URL.Path != q.path || got.URL.RawQuery != q.query && got.URL.RawQuery != strings.TrimSuffix(q.query, "#") {
			t.Fatalf("%q: passed on as %s %q %q, taken for %q %q", raw, got.Method, got.URL.Path, got.URL.RawQuery, q.path, q.query)
		}
		if got.Header.Get("Authorization") != "" || got.Host != "books" || got.Close != (got.Proto == "HTTP/1.1" || got.Proto == "HTTP/1.0") {
			t.Fatalf("%q: passed on as %q", raw, sent)
		}
		mux := http.NewServeMux()
		reached := false
		mux.HandleFunc(InternalPrefix, func(http.ResponseWriter, *http.Request) { reached = true })
		mux.ServeHTTP(discard{}, got)
		if reached {
			t.Fatalf("%q: reaches an internal path", raw)
		}
	})
}

// sink is a connection that accepts all bytes.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

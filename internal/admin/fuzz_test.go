package admin

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
)

// FuzzFront looks for a request that the front answers by itself although net/http, behind it, would find something else in the
// same bytes: another end of the request, or another answer.
func FuzzFront(f *testing.F) {
	for _, raw := range frontCases {
		f.Add(raw, false)
		f.Add(raw, true)
	}
	history := snapshot.NewHistory(0)
	history.Add(&snapshot.Snapshot{Version: 7, ETag: `"7-abc"`, JSON: []byte("{}"), Gzip: []byte("packed")})
	var fronts [2]*front
	var handlers [2]http.Handler
	for i, token := range []string{"", "secret"} {
		o := Options{
			Token: token, Hosts: []string{"books.example"}, Snapshots: snapshot.Handler(history), Logger: slog.New(slog.DiscardHandler),
			Latest: func() (Document, bool) { return Document{`"7-abc"`, []byte("{}"), []byte("packed")}, true },
		}
		fronts[i], handlers[i] = newFront(&o, nil, 0), New(o).Handler()
	}
	f.Fuzz(func(t *testing.T, raw string, token bool) {
		end := bytes.Index([]byte(raw), []byte("\r\n\r\n"))
		if end < 0 || len(raw) > frontBytesMax {
			return
		}
		i := 0
		if token {
			i = 1
		}
		r := fronts[i].render(time.Now())
		which, mine := fronts[i].answer([]byte(raw[:end+2]), r.etag)
		if !mine {
			return
		}
		answer := r.responses[which]
		in := bufio.NewReader(bytes.NewReader([]byte(raw)))
		req, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q: answered, net/http says %v", raw, err)
		}
		req.RemoteAddr = "127.0.0.1:1"
		if rest, _ := io.ReadAll(in); string(rest) != raw[end+4:] || req.ContentLength != 0 || req.Close {
			t.Fatalf("%q: ends elsewhere for net/http: %+v", raw, req)
		}
		want := httptest.NewRecorder()
		handlers[i].ServeHTTP(want, req)
		got, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer.bytes)), req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || got.StatusCode != want.Code || string(body) != want.Body.String() || got.Header.Get("Content-Encoding") != want.Header().Get("Content-Encoding") {
			t.Fatalf("%q: answered %q, net/http says %d %q %v", raw, answer.bytes, want.Code, want.Body, want.Header())
		}
	})
}

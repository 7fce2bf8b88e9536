package admin

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/snapshot"
)

// longBody is larger than a socket buffer.
var longBody = bytes.Repeat([]byte("{\"version\":7}\n"), 300_000)

func historyOf(body []byte) *snapshot.History {
	h := new(snapshot.History)
	h.Add(&snapshot.Snapshot{Version: 7, ETag: `"7-abc"`, JSON: body, Gzip: []byte("packed")})
	return h
}

// snapshotServer returns a server with one snapshot.
func snapshotServer(token string, body []byte) *Server {
	return New(Options{Token: token, Hosts: []string{"books.example"}, Snapshots: historyOf(body).Serve, Logger: slog.New(slog.DiscardHandler)})
}

// exchange sends raw bytes and reads one response per request, without the Date field.
func exchange(t testing.TB, address, raw string, responses int) []string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	var out []string
	for range responses {
		resp, err := http.ReadResponse(reader, &http.Request{Method: strings.SplitN(raw, " ", 2)[0]})
		if err != nil {
			return append(out, "no response")
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Header.Del("Date")
		var head bytes.Buffer
		_ = resp.Header.Write(&head)
		out = append(out, resp.Status+"\n"+head.String()+"\n"+string(body))
	}
	return out
}

const ordinaryRequest = "GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// frontCases are requests for a snapshot, with the status of the response. same says that the response must equal that
// of net/http, byte for byte.
var frontCases = map[string]struct {
	raw    string
	status int
	same   bool
}{
	"plain":             {ordinaryRequest, 200, true},
	"gzip":              {"GET /snapshot HTTP/1.1\r\nHost: localhost:1\r\nAccept-Encoding: gzip, deflate, br\r\nUser-Agent: x\r\n\r\n", 200, true},
	"only gzip":         {"GET /snapshot HTTP/1.1\r\nhost:localhost\r\naccept-encoding:gzip\r\n\r\n", 200, true},
	"gzip on two lines": {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: br\r\nAccept-Encoding: gzip\r\n\r\n", 200, true},
	"no gzip":           {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip;q=0\r\n\r\n", 200, true},
	"gzip refused late": {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip, deflate;q=0\r\n\r\n", 200, true},
	"unchanged":         {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"7-abc\"\r\n\r\n", 304, true},
	"weak tag":          {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: W/\"7-abc\"\r\n\r\n", 304, true},
	"any tag":           {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n", 304, true},
	"several tags":      {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"1\", \"7-abc\"\r\n\r\n", 304, true},
	"tags on two lines": {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"1\"\r\nIf-None-Match: \"7-abc\"\r\n\r\n", 304, true},
	"old tag":           {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"6-abc\"\r\n\r\n", 200, true},
	"configured name":   {"GET /snapshot HTTP/1.1\r\nHost: books.example\r\n\r\n", 200, true},
	"foreign name":      {"GET /snapshot HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, false},
	"look-alike":        {"GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 421, false},
	"strange host":      {"GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1:<1>\r\n\r\n", 400, false},
	"no host":           {"GET /snapshot HTTP/1.1\r\nAccept: */*\r\n\r\n", 400, false},
	"two hosts":         {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400, false},
	"head":              {"HEAD /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, true},
	"post":              {"POST /snapshot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405, false},
	"query":             {"GET /snapshot?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, false},
	"http/1.0":          {"GET /snapshot HTTP/1.0\r\nHost: localhost\r\n\r\n", 200, false},
	"version 7":         {"GET /snapshot/7 HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, true},
	"version 8":         {"GET /snapshot/8 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, true},
	"no version":        {"GET /snapshot/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, true},
	"absolute form":     {"GET http://localhost/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, true},
	"absolute, foreign": {"GET http://evil.example/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n", 421, false},
	"close":             {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200, true},
	"body":              {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 200, true},
	"chunked":           {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, true},
	"range":             {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n", 200, true},
	"no colon":          {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept\r\n\r\n", 400, false},
	"space before it":   {"GET /snapshot HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, false},
	"nul":               {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept: a\x00b\r\n\r\n", 400, false},
	"two lengths":       {"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", 400, false},
	"token":             {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n", 200, true},
	"long":              {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nCookie: " + strings.Repeat("x", 5000) + "\r\n\r\n", 200, true},
	"too long":          {"GET /snapshot HTTP/1.1\r\nHost: localhost\r\nCookie: " + strings.Repeat("x", 50_000) + "\r\n\r\n", 431, false},
	"body too long":     {"POST /-/forget HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n", 413, false},
}

// TestSnapshotsAsByNetHTTP: requests for snapshots get the same responses as from the same snapshots behind net/http.
func TestSnapshotsAsByNetHTTP(t *testing.T) {
	ordinary := &http.Server{Handler: api.NewHandler(api.Options{Snapshots: historyOf(longBody)}), ReadHeaderTimeout: time.Minute}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = ordinary.Serve(ln) }()
	t.Cleanup(func() { _ = ordinary.Close() })
	address := listen(t, snapshotServer("", longBody).Serve)
	for name, c := range frontCases {
		t.Run(name, func(t *testing.T) {
			got := exchange(t, address, c.raw, 1)
			if !strings.HasPrefix(got[0], strconv.Itoa(c.status)+" ") {
				t.Errorf("%.300q", got)
			}
			if !strings.Contains(got[0], "Content-Security-Policy: default-src 'none'") || strings.Contains(got[0], "Server: ") {
				t.Errorf("fields: %.1000q", got)
			}
			if !c.same {
				return
			}
			if diff := cmp.Diff(exchange(t, ln.Addr().String(), c.raw, 1), got); diff != "" {
				t.Errorf("net/http (-) and the admin listener (+) disagree:\n%.2000s", diff)
			}
		})
	}
}

func TestTokenOnTheWire(t *testing.T) {
	s := snapshotServer("secret", []byte("{}"))
	s.tokens.delay = time.Millisecond
	address := listen(t, s.Serve)
	for fields, want := range map[string]string{
		"": "401 ", "Authorization: Bearer secret\r\n": "200 ", "Authorization: Bearer secreT\r\n": "401 ",
	} {
		raw := "GET /snapshot HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n"
		got := exchange(t, address, raw+raw, 2)
		if !strings.HasPrefix(got[0], want) {
			t.Errorf("%q: %q", fields, got)
		}
		if closed := got[1] == "no response"; closed != strings.Contains(fields, "secreT") {
			t.Errorf("%q: closed after the answer: %t", fields, closed)
		}
	}
}

// TestRequestsInARow sends requests that arrive together, in pieces, and after a request that could not be relayed.
func TestRequestsInARow(t *testing.T) {
	address := listen(t, snapshotServer("", longBody).Serve)
	one := exchange(t, address, ordinaryRequest, 1)[0]
	got := exchange(t, address, ordinaryRequest+ordinaryRequest+"GET /api/v1/paths HTTP/1.1\r\nHost: localhost\r\n\r\n"+ordinaryRequest, 4)
	if got[0] != one || got[1] != one || !strings.HasPrefix(got[2], "503 ") || got[3] != one {
		t.Errorf("%.300q", got)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for i := range 20 {
		cut := 1 + i%(len(ordinaryRequest)-1)
		for _, piece := range []string{ordinaryRequest[:cut], ordinaryRequest[cut:]} {
			if _, err := io.WriteString(conn, piece); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // so that it arrives in a separate read
		}
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v", resp, err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(longBody)) {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
}

// TestSnapshotsThatChange polls, usually with the same bytes, while the snapshot changes and changes back.
func TestSnapshotsThatChange(t *testing.T) {
	var latest atomic.Pointer[snapshot.History]
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Snapshots: func(path, ifNoneMatch, acceptEncoding string) (int, [][2]string, []byte) {
		return latest.Load().Serve(path, ifNoneMatch, acceptEncoding)
	}})
	latest.Store(new(snapshot.History))
	conn, err := net.Dial("tcp", listen(t, s.Serve))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	reader := bufio.NewReader(conn)
	ask := func(request string) (int, string) {
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if status, _ := ask(ordinaryRequest); status != 503 {
		t.Errorf("without a snapshot: %d", status)
	}
	for i := range 100 {
		version := strconv.Itoa(i / 3 % 2)
		h := new(snapshot.History)
		h.Add(&snapshot.Snapshot{Version: uint64(i + 1), ETag: `"` + version + `"`, JSON: []byte("body " + version), Gzip: []byte("packed")})
		latest.Store(h)
		want := http.StatusOK
		if version == "0" {
			want = http.StatusNotModified
		}
		if status, _ := ask("GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"0\"\r\n\r\n"); status != want {
			t.Fatalf("request %d, the document is version %s: %d, want %d", i, version, status, want)
		}
		if i%10 != 9 {
			continue
		}
		if status, body := ask(ordinaryRequest); status != http.StatusOK || body != "body "+version {
			t.Fatalf("request %d: %d %q", i, status, body)
		}
	}
}

// BenchmarkPoller is one client that sends its next request as soon as it has the response.
func BenchmarkPoller(b *testing.B) {
	conn, err := net.Dial("tcp", listen(b, snapshotServer("", make([]byte, 27_000)).Serve))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	answer, length := make([]byte, 32_000), 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(conn, ordinaryRequest); err != nil {
			b.Fatal(err)
		}
		for got := 0; length == 0 || got < length; {
			n, err := conn.Read(answer)
			if err != nil {
				b.Fatal(err)
			}
			if got += n; length == 0 && got > 27_000 {
				length = got
			}
		}
	}
}

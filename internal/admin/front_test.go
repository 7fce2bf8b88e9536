package admin

import (
	"bufio"
	"bytes"
	"context"
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

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
)

// longBody is more than a socket takes at once.
var longBody = bytes.Repeat([]byte("{\"version\":7}\n"), 300_000)

// twoServers are the same admin server once with the front and once without.
func twoServers(t *testing.T, token string) (fronted, ordinary string) {
	t.Helper()
	history := snapshot.NewHistory(0)
	history.Add(&snapshot.Snapshot{Version: 7, ETag: `"7-abc"`, JSON: longBody, Gzip: []byte("packed")})
	document := func() (Document, bool) {
		return Document{`"7-abc"`, longBody, []byte("packed")}, true
	}
	listen := func(latest func() (Document, bool)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := New(Options{Token: token, Hosts: []string{"books.example"}, Snapshots: snapshot.Handler(history), Latest: latest, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln, time.Second) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		return ln.Addr().String()
	}
	return listen(document), listen(nil)
}

// exchange sends raw bytes and reads as many responses as there are requests; the header Date is left out.
func exchange(t *testing.T, address, raw string, responses int) []string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
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

// frontCases are requests that must be answered alike, whoever answers them.
var frontCases = map[string]string{
	"plain":             ordinaryRequest,
	"gzip":              "GET /snapshot HTTP/1.1\r\nHost: localhost:1\r\nAccept-Encoding: gzip, deflate, br\r\nUser-Agent: x\r\n\r\n",
	"only gzip":         "GET /snapshot HTTP/1.1\r\nhost:localhost\r\naccept-encoding:gzip\r\n\r\n",
	"no gzip":           "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip;q=0\r\n\r\n",
	"gzip refused late": "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip, deflate;q=0\r\n\r\n",
	"unchanged":         "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"7-abc\"\r\n\r\n",
	"weak tag":          "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: W/\"7-abc\"\r\n\r\n",
	"any tag":           "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n",
	"several tags":      "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"1\", \"7-abc\"\r\n\r\n",
	"old tag":           "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"6-abc\"\r\n\r\n",
	"configured name":   "GET /snapshot HTTP/1.1\r\nHost: books.example\r\n\r\n",
	"foreign name":      "GET /snapshot HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	"look-alike":        "GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n",
	"strange host":      "GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1:<1>\r\n\r\n",
	"no host":           "GET /snapshot HTTP/1.1\r\nAccept: */*\r\n\r\n",
	"two hosts":         "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
	"head":              "HEAD /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"post":              "POST /snapshot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
	"query":             "GET /snapshot?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"http/1.0":          "GET /snapshot HTTP/1.0\r\nHost: localhost\r\n\r\n",
	"version 7":         "GET /snapshot/7 HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"absolute form":     "GET http://localhost/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"close":             "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
	"body":              "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
	"chunked":           "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"range":             "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n",
	"folded":            "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept: a\r\n b\r\n\r\n",
	"no colon":          "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept\r\n\r\n",
	"space before it":   "GET /snapshot HTTP/1.1\r\nHost : localhost\r\n\r\n",
	"nul":               "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAccept: a\x00b\r\n\r\n",
	"bare line feed":    "GET /snapshot HTTP/1.1\nHost: localhost\r\n\r\n",
	"token":             "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n",
	"wrong token":       "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secreT\r\n\r\n",
	"long":              "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nCookie: " + strings.Repeat("x", 5000) + "\r\n\r\n",
}

func TestFrontAnswersLikeNetHTTP(t *testing.T) {
	for _, token := range []string{"", "secret"} {
		fronted, ordinary := twoServers(t, token)
		for name, raw := range frontCases {
			t.Run(name+" "+token, func(t *testing.T) {
				if diff := cmp.Diff(exchange(t, ordinary, raw, 1), exchange(t, fronted, raw, 1)); diff != "" {
					t.Errorf("net/http (-) and the front (+) disagree:\n%s", diff)
				}
			})
		}
	}
}

func TestFrontTakesManyRequestsAndHandsOver(t *testing.T) {
	fronted, ordinary := twoServers(t, "")
	raw := ordinaryRequest + ordinaryRequest + "GET /snapshots HTTP/1.1\r\nHost: localhost\r\n\r\n" + ordinaryRequest
	if diff := cmp.Diff(exchange(t, ordinary, raw, 4), exchange(t, fronted, raw, 4)); diff != "" {
		t.Error(diff)
	}
	conn, err := net.Dial("tcp", fronted)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for _, part := range []string{ordinaryRequest[:10], ordinaryRequest[10:], ordinaryRequest} {
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
		if part == ordinaryRequest[:10] {
			time.Sleep(20 * time.Millisecond) // so that it arrives by itself
			continue
		}
		if resp, err := http.ReadResponse(reader, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v", resp, err)
		} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFrontKeepsPollers sends one request after the other, some of them in pieces that end where a read does, and then closes
// in the moment of a request: every one is answered.
func TestFrontKeepsPollers(t *testing.T) {
	fronted, _ := twoServers(t, "")
	conn, err := net.Dial("tcp", fronted)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	reader := bufio.NewReader(conn)
	unchanged := "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"7-abc\"\r\n\r\n"
	for i := range 100 {
		many := 1 + i%5
		if _, err := io.WriteString(conn, strings.Repeat(unchanged, many)); err != nil {
			t.Fatal(err)
		}
		for range many {
			if resp, err := http.ReadResponse(reader, nil); err != nil || resp.StatusCode != http.StatusNotModified {
				t.Fatalf("round %d: %v %v", i, resp, err)
			}
		}
	}
	again, err := net.Dial("tcp", fronted)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	_ = again.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(again, unchanged)
	_ = again.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(again); err != nil || !bytes.HasPrefix(rest, []byte("HTTP/1.1 304")) {
		t.Errorf("a client that closes behind its request gets %q, %v", rest, err)
	}
}

// TestFrontForgetsWhatItAnswered polls with the same bytes while the document changes and changes back, now and then with others.
func TestFrontForgetsWhatItAnswered(t *testing.T) {
	var latest atomic.Pointer[Document]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Snapshots: http.NotFoundHandler(), Latest: func() (Document, bool) { return *latest.Load(), true }, Logger: slog.New(slog.DiscardHandler)})
	latest.Store(&Document{ETag: `"0"`, Plain: []byte("0")})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, time.Second) }()
	defer func() { cancel(); <-done }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
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
	for i := range 100 {
		version := strconv.Itoa(i / 3 % 2)
		latest.Store(&Document{ETag: `"` + version + `"`, Plain: []byte("body " + version), Gzip: []byte("packed")})
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

func TestFrontDoesNotAllocate(t *testing.T) {
	document := Document{ETag: `"1"`, Plain: []byte("x")}
	f := newFront(&Options{Latest: func() (Document, bool) { return document, true }, Logger: slog.Default()}, nil, 0)
	head, now := []byte(ordinaryRequest[:len(ordinaryRequest)-2]), time.Now()
	if _, mine := f.answer(head, f.render(now).etag); !mine {
		t.Fatal("an ordinary request is not answered")
	}
	if n := testing.AllocsPerRun(1000, func() { f.answer(head, f.render(now).etag) }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

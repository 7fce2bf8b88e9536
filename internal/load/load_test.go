package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// books is an origin that records every nonce that it receives.
type books struct {
	seen   Bitmap
	twice  atomic.Uint64
	before func(w http.ResponseWriter, r *http.Request, nonce uint64) (done bool)
}

func (b *books) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nonce, ok := Nonce([]byte(r.URL.Path))
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !b.seen.Set(nonce) {
		b.twice.Add(1)
	}
	if b.before != nil && b.before(w, r, nonce) {
		return
	}
	fmt.Fprintf(w, "nonce %d", nonce)
}

func verifyEcho(nonce uint64, r *Response) error {
	return ExpectBody(200, fmt.Appendf(nil, "nonce %d", nonce))(nonce, r)
}

func startOrigin(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func mustRun(t *testing.T, o Options) *Report {
	t.Helper()
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var failed uint64
	for _, n := range report.Failed {
		failed += n
	}
	if report.Sent != report.Completed+report.Abandoned+failed {
		t.Errorf("sent %d ≠ completed %d + abandoned %d + failed %d", report.Sent, report.Completed, report.Abandoned, failed)
	}
	return report
}

func TestRunSendsExactNumber(t *testing.T) {
	origin := &books{}
	var sent, received Bitmap
	var live Counters
	report := mustRun(t, Options{
		Address: startOrigin(t, origin), Connections: 7, Requests: 5000, FirstNonce: chunkBits - 1000,
		Verify: verifyEcho, Sent: &sent, Received: &received, Counters: &live,
	})
	if report.Sent != 5000 || report.Completed != 5000 || report.Dials != 7 {
		t.Errorf("report: %v, dials %d", report, report.Dials)
	}
	if live.Completed.Load() != 5000 || live.Sent.Load() != 5000 || live.Received.Load() != 5000 {
		t.Error("live counters differ from the report")
	}
	if n, first := sent.Missing(&received, 3); n != 0 || origin.twice.Load() != 0 {
		t.Errorf("%d not received (%v), %d seen twice", n, first, origin.twice.Load())
	}
	if sent.Count() != 5000 || !sent.Has(chunkBits-1000) || !sent.Has(chunkBits+3999) || sent.Has(chunkBits+4000) {
		t.Errorf("sent holds %d nonces", sent.Count())
	}
	if report.Latency.Count() != 5000 || report.Statuses[200] != 5000 {
		t.Errorf("latency count %d, statuses %v", report.Latency.Count(), report.Statuses)
	}
}

// hijack responds with raw bytes and closes the connection, with a reset if reset is set.
func hijack(w http.ResponseWriter, raw string, reset bool) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	if reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	_, _ = io.WriteString(conn, raw)
	_ = conn.Close()
}

func TestRunClassifiesResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name  string
		raw   string
		reset bool
		kind  Kind // empty if it completed
	}{
		{"length", ok + "Content-Length: 2\r\n\r\nok", false, ""},
		{"length, connection close", ok + "Content-Length: 2\r\nConnection: close\r\n\r\nok", false, ""},
		{"until the end", ok + "\r\nok", false, ""},
		{"chunked", ok + "Transfer-Encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\nTrailer: v\r\n\r\n", false, ""},
		{"interim responses", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nok", false, ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, ""},
		{"nothing", "", false, KindClosed},
		{"nothing, reset", "", true, KindReset},
		{"truncated status line", "HTTP/1.1 2", false, KindTruncated},
		{"truncated header", ok + "Content-Le", false, KindTruncated},
		{"truncated body", ok + "Content-Length: 3\r\n\r\nok", false, KindTruncated},
		{"truncated chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nok", false, KindTruncated},
		{"no last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", false, KindTruncated},
		{"no end of trailer", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", false, KindTruncated},
		{"not HTTP", "SSH-2.0-OpenSSH_9.2 Debian\r\n\r\n", false, KindMalformed},
		{"bad status", "HTTP/1.1 2x0 OK\r\n\r\n", false, KindMalformed},
		{"bad header", ok + "nonsense\r\n\r\n", false, KindMalformed},
		{"bad length", ok + "Content-Length: two\r\n\r\nok", false, KindMalformed},
		{"two lengths", ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", false, KindMalformed},
		{"bad chunk size", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n", false, KindMalformed},
		{"bad chunk end", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n", false, KindMalformed},
		{"unknown coding", ok + "Transfer-Encoding: gzip\r\n\r\n", false, KindMalformed},
		{"more than its length", ok + "Content-Length: 2\r\n\r\nokay", false, KindMalformed},
		{"endless header", ok + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 80), false, KindMalformed},
		{"unasked-for upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, KindMalformed},
		{"other status", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nok", false, KindVerify},
		{"other body", ok + "Content-Length: 2\r\n\r\nno", false, KindVerify},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sent, received Bitmap
			report := mustRun(t, Options{
				Address:     startOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hijack(w, c.raw, c.reset) })),
				Connections: 1, Requests: 1, Verify: ExpectBody(200, []byte("ok")), Sent: &sent, Received: &received,
			})
			wantReceived := uint64(0)
			if c.kind == "" || c.kind == KindVerify {
				wantReceived = 1
			}
			if c.kind == "" && report.Completed != 1 || c.kind != "" && report.Failed[c.kind] != 1 {
				t.Errorf("want kind %q: %v", c.kind, report)
			}
			if sent.Count() != 1 || received.Count() != wantReceived || report.Received != wantReceived {
				t.Errorf("sent %d, received %d, want %d", sent.Count(), received.Count(), wantReceived)
			}
			if c.kind != "" && len(report.Errors) == 0 {
				t.Error("the report does not say what went wrong")
			}
		})
	}
}

func TestRunResetWithinBody(t *testing.T) {
	half := make(chan struct{})
	origin := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		<-half // the client has received the first half before the reset
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	proxy := relay(t, startOrigin(t, origin), func() { close(half) })
	report := mustRun(t, Options{Address: proxy, Connections: 1, Requests: 1})
	if report.Failed[KindReset]+report.Failed[KindTruncated] != 1 || report.Received != 0 {
		t.Errorf("report: %v", report)
	}
}

// relay forwards one connection and calls after once the first bytes of the response have been passed on.
func relay(t *testing.T, to string, after func()) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		request, _ := bufio.NewReader(client).ReadString('\n')
		_, _ = io.WriteString(server, request+"Host: x\r\n\r\n")
		buf := make([]byte, 1024)
		n, _ := server.Read(buf)
		_, _ = client.Write(buf[:n])
		after()
		_, _ = io.Copy(client, server)
		_ = client.(*net.TCPConn).SetLinger(0)
	}()
	return listener.Addr().String()
}

// While a server is stopped and started under load, nothing is sent twice, and the server has seen each received nonce.
func TestRunSurvivesRestarts(t *testing.T) {
	origin := &books{}
	var server atomic.Pointer[http.Server]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	serve := func(l net.Listener) {
		s := &http.Server{Handler: origin}
		server.Store(s)
		go func() { _ = s.Serve(l) }()
	}
	restart := make(chan struct{}, 1)
	origin.before = func(_ http.ResponseWriter, _ *http.Request, nonce uint64) bool {
		if nonce%1000 == 500 {
			restart <- struct{}{}
		}
		return false
	}
	serve(listener)
	var sent, received Bitmap
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			<-restart
			_ = server.Load().Close() // resets connections in use
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			serve(l)
		}
	}()
	report := mustRun(t, Options{Address: address, Connections: 8, Requests: 3000, Verify: verifyEcho, Sent: &sent, Received: &received})
	<-done
	_ = server.Load().Close()
	lost, _ := received.Missing(&origin.seen, 1)
	ghosts, _ := origin.seen.Missing(&sent, 1)
	if lost != 0 || ghosts != 0 || origin.twice.Load() != 0 {
		t.Errorf("%d received but not seen, %d seen but not sent, %d seen twice", lost, ghosts, origin.twice.Load())
	}
	if report.Sent != 3000 || sent.Count() != 3000 || report.Completed == 3000 || report.Dials <= 8 {
		t.Errorf("report: %v, dials %d", report, report.Dials)
	}
}

func TestRunGivesUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	report, err := Run(t.Context(), Options{Address: address, Connections: 2, Requests: 10, ConnectTimeout: 5 * time.Millisecond})
	if !errors.Is(err, ErrNoConnection) || report.Sent != 0 || report.DialErrors == 0 {
		t.Errorf("error %v, report %v", err, report)
	}
}

func TestRunStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	origin := &books{before: func(_ http.ResponseWriter, _ *http.Request, nonce uint64) bool {
		if nonce == 300 {
			cancel()
		}
		return false
	}}
	var sent, received Bitmap
	report, err := Run(ctx, Options{Address: startOrigin(t, origin), Connections: 4, Verify: verifyEcho, Sent: &sent, Received: &received})
	if err != nil || report.Sent < 300 || report.Sent != report.Completed {
		t.Errorf("error %v, report %v", err, report)
	}
	if n, _ := sent.Missing(&received, 1); n != 0 || sent.Count() != origin.seen.Count() {
		t.Errorf("%d requests under way were dropped", n)
	}
}

func TestRunRateAndDuration(t *testing.T) {
	address := startOrigin(t, &books{})
	report := mustRun(t, Options{Address: address, Connections: 4, Requests: 50, Rate: 500})
	if report.Completed != 50 || report.Elapsed < 49*time.Second/500 {
		t.Errorf("50 requests at 500/s took %v: %v", report.Elapsed, report)
	}
	report = mustRun(t, Options{Address: address, Connections: 4, Rate: 1000, Duration: 50 * time.Millisecond})
	// On a busy machine the run may end late. The rate must hold for its real duration, within one request per connection.
	if most := uint64(report.Elapsed/time.Millisecond) + 4; report.Sent == 0 || report.Sent > most || report.Sent != report.Completed {
		t.Errorf("50 ms at 1000/s: %v", report)
	}
}

func TestRunRefusesMisuse(t *testing.T) {
	for name, o := range map[string]Options{
		"no address":  {},
		"no port":     {Address: "localhost"},
		"connections": {Address: "localhost:1", Connections: -1},
		"rate":        {Address: "localhost:1", Rate: -1},
		"nonce range": {Address: "localhost:1", Requests: 2, FirstNonce: NonceMax, Sent: new(Bitmap)},
		"nonce wraps": {Address: "localhost:1", Requests: 2, FirstNonce: 1<<64 - 1, Received: new(Bitmap)},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/wayside-proxy/wayside/internal/link"
)

// bigMetrics returns a gatherer of about a megabyte of text. Each call is counted and waits for gate.
func bigMetrics(gate <-chan struct{}, count *atomic.Int32) prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	for i := range 4 {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "big_" + string(rune('a'+i)), Help: strings.Repeat("x", 1000)}, []string{"n"})
		for n := range 250 {
			g.WithLabelValues(strings.Repeat("v", 1000) + string(rune('a'+n%26)) + string(rune('a'+n/26))).Set(1)
		}
		registry.MustRegister(g)
	}
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		count.Add(1)
		<-gate
		return registry.Gather()
	})
}

func dial(t testing.TB, address, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMetricsThatNobodyReads: many connections request metrics repeatedly and read nothing. They share the same texts,
// memory stays within its limit, other requests are answered, and in the end all memory is released.
func TestMetricsThatNobodyReads(t *testing.T) {
	s := newServer(t, "")
	gate, count := make(chan struct{}), new(atomic.Int32)
	close(gate)
	s.opt.Gatherer = bigMetrics(gate, count)
	address := listen(t, s.ServeProbes)
	one := len(get(t, address, "GET", "/metrics").body)
	if one < 1_000_000 {
		t.Fatalf("%d bytes of metrics", one)
	}
	before := heap()
	for i := range 1000 {
		dial(t, address, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 5))
		if i%50 != 0 {
			continue
		}
		if a := get(t, address, "GET", "/livez"); a.status != 200 {
			t.Fatalf("/livez beside them: %d", a.status)
		}
	}
	// While the last of them are still being answered, there may be too many waiting: 503.
	waitFor(t, "no metrics beside them", func() bool {
		a := get(t, address, "GET", "/metrics")
		return a.status == 200 && len(a.body) == one
	})
	s.metrics.mu.Lock()
	sending := s.metrics.sending
	s.metrics.mu.Unlock()
	if sending > metricsBytesMax+2*one {
		t.Errorf("%d bytes of metrics are being sent", sending)
	}
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// TestGatheringThatHangs: while gathering metrics hangs, health is answered, and few requests wait for metrics.
func TestGatheringThatHangs(t *testing.T) {
	s := newServer(t, "")
	gate, count := make(chan struct{}), new(atomic.Int32)
	s.opt.Gatherer = bigMetrics(gate, count)
	s.SetReady(true)
	address := listen(t, s.ServeProbes)
	var waiting []net.Conn
	for range 30 {
		waiting = append(waiting, dial(t, address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
	}
	waitFor(t, "nobody gathers", func() bool { return count.Load() > 0 })
	for range 3 * waitersMax {
		dial(t, address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		for _, path := range []string{"/livez", "/readyz", "/readyz?verbose"} {
			if a := get(t, address, "GET", path); a.status != 200 {
				t.Fatalf("%s: %d", path, a.status)
			}
		}
	}
	if n := count.Load(); n != 1 {
		t.Errorf("%d gatherings at a time", n)
	}
	close(gate)
	waitFor(t, "no metrics", func() bool { return get(t, address, "GET", "/metrics").status == 200 })
	for _, conn := range waiting {
		_ = conn.Close()
	}
}

// TestHalfRequests: incomplete requests of every kind, on many connections, do not keep other requests from being answered, and they time
// out.
func TestHalfRequests(t *testing.T) {
	for name, half := range map[string]string{
		"nothing":         "",
		"half a header":   "GET /livez HTTP/1.1\r\nHost: x\r\n",
		"no body":         "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"half a chunk":    "POST /-/forget HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
		"asks to go on":   "POST /-/forget HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
		"after a request": "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "")
			s.SetReady(true)
			for _, address := range []string{listen(t, s.Serve), listen(t, s.ServeProbes)} {
				var conns []net.Conn
				for range 300 {
					conns = append(conns, dial(t, address, strings.Replace(half, "Host: x", "Host: localhost", 2)))
				}
				for range 10 {
					if a := get(t, address, "GET", "/livez"); a.status != 200 {
						t.Fatalf("/livez: %d", a.status)
					}
				}
				last := conns[len(conns)-1]
				drip := time.NewTicker(100 * time.Millisecond) // single bytes do not extend its time
				defer drip.Stop()
				ended := make(chan error, 1)
				go func() { _, err := io.Copy(io.Discard, last); ended <- err }()
				for over := false; !over; {
					select {
					case err := <-ended:
						over = true
						if errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("it does not end: %v", err)
						}
					case <-drip.C:
						if half != "" && !strings.Contains(half, "Content-Length") {
							_, _ = io.WriteString(last, "a")
						}
					}
				}
			}
		})
	}
}

// TestRelayedPagesThatNobodyReads: the connections are cut off and use a limited number of connections to the books
// process, which notices when the clients disconnect.
func TestRelayedPagesThatNobodyReads(t *testing.T) {
	s := newServer(t, "")
	var open, most atomic.Int32
	books(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := open.Add(1)
		defer open.Add(-1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		if r.URL.Path == "/short" {
			_, _ = io.WriteString(w, "short")
			return
		}
		for r.Context().Err() == nil {
			if _, err := w.Write(longBody[:64<<10]); err != nil {
				return
			}
		}
	}))
	address := listen(t, s.Serve)
	before := len(descriptors(t))
	for range 500 {
		dial(t, address, strings.Repeat("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n", 5))
	}
	waitFor(t, "a page beside them", func() bool { return get(t, address, "GET", "/short").status == 200 })
	if a := get(t, address, "GET", "/livez"); a.status != 200 {
		t.Errorf("/livez: %d", a.status)
	}
	if n := most.Load(); n > link.ConnsMax { // connections that were cut off may still be closing
		t.Errorf("%d pages at a time", n)
	}
	// The clients' ends are descriptors of this process too.
	if n := len(descriptors(t)) - before - 500; n > adminLimits.connsMax+2*relaysMax {
		t.Errorf("%d descriptors", n)
	}
	waitFor(t, "they are never cut off", func() bool { return open.Load() == 0 })
}

func descriptors(t testing.TB) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestStreams: bytes from the books process arrive immediately, and each end notices when the other disconnects.
func TestStreams(t *testing.T) {
	s := newServer(t, "")
	left := make(chan struct{})
	next := make(chan string)
	leave := books(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		for {
			select {
			case text := <-next:
				_, _ = io.WriteString(w, text)
				_ = rc.Flush()
			case <-r.Context().Done():
				left <- struct{}{}
				return
			}
		}
	}))
	address := listen(t, s.Serve)
	open := func() (net.Conn, *bufio.Reader) {
		conn := dial(t, address, "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v", resp, err)
		}
		return conn, bufio.NewReader(resp.Body)
	}
	conn, body := open()
	for _, text := range []string{"one\n", "two\n"} {
		next <- text
		if got, err := body.ReadString('\n'); err != nil || got != text {
			t.Fatalf("%q %v", got, err)
		}
	}
	_ = conn.Close()
	<-left
	_, body = open()
	go leave()
	if _, err := body.ReadString('\n'); err == nil {
		t.Error("it goes on without the books process")
	}
	<-left
}

// TestServeEndsInTime: a response that is being sent at the end is completed. Streams, and clients that do not read, are cut off.
func TestServeEndsInTime(t *testing.T) {
	s := snapshotServer("", bytes.Repeat([]byte("x"), 16<<20))
	for _, reads := range []bool{true, false} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		grace := time.Minute
		if !reads {
			grace = 100 * time.Millisecond
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln, grace) }()
		conn := dial(t, ln.Addr().String(), ordinaryRequest)
		if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(err)
		}
		cancel()
		if reads {
			if n, err := io.Copy(io.Discard, conn); err != nil || n < 16<<20 {
				t.Errorf("%d bytes, %v", n, err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestUnreadMetricsAreBounded: while too many bytes of metrics are unread, all requests get the last text. Once it has
// been sent, metrics are gathered again.
func TestUnreadMetricsAreBounded(t *testing.T) {
	const size = 1 << 20
	var m metrics
	made := 0
	m.gathering.make = func() *gathered {
		made++
		return &gathered{all: make([]byte, size)}
	}
	var releases []func()
	last := (*gathered)(nil)
	for range 100 {
		g, release := m.take(nil)
		last = g
		releases = append(releases, release)
		time.Sleep(time.Millisecond) // longer than such a text stays valid
	}
	if m.sending > metricsBytesMax || made > metricsBytesMax/size {
		t.Errorf("%d bytes of %d texts", m.sending, made)
	}
	if m.newest != last {
		t.Error("not the newest text")
	}
	for _, release := range releases {
		release()
		release()
	}
	if m.sending != 0 || m.newest != nil {
		t.Errorf("%d bytes are left", m.sending)
	}
	waitFor(t, "an old text, with nothing being sent", func() bool { // it stays valid for ten times as long as it took to gather
		g, release := m.take(nil)
		defer release()
		return g != last
	})
}

// TestGuessingTokensKeepsNobodyOut: while many clients with wrong tokens wait, other requests are answered.
func TestGuessingTokensKeepsNobodyOut(t *testing.T) {
	s := newServer(t, "secret")
	s.tokens.delay = time.Hour
	for _, address := range []string{listen(t, s.Serve), listen(t, s.ServeProbes)} {
		for range 300 {
			dial(t, address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess\r\n\r\n")
		}
		for range 10 {
			if a := get(t, address, "GET", "/livez"); a.status != 200 {
				t.Fatalf("/livez: %d", a.status)
			}
		}
	}
}

// TestWrongTokensWait: a wrong token is counted immediately, but the response is delayed.
func TestWrongTokensWait(t *testing.T) {
	s := newServer(t, "secret")
	s.tokens.delay = time.Hour
	for i, address := range []string{listen(t, s.Serve), listen(t, s.ServeProbes)} {
		guess := dial(t, address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess\r\n\r\n")
		waitFor(t, "the guess is not counted", func() bool { return s.WrongTokens() == uint64(i+1) })
		_ = guess.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := guess.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes and %v before the delay is over", n, err)
		}
	}
}

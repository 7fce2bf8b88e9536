package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// patience limits every wait, so that a failing test does not hang.
const patience = time.Minute

// served is a handler behind a real server, on a socket like that of the books process.
type served struct {
	t    *testing.T
	path string
}

func serve(t *testing.T, h http.Handler) served {
	t.Helper()
	s := served{t, filepath.Join(t.TempDir(), "s")}
	ln, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(BoundWrites(ln)) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return s
}

// ask sends a request and does not read the response.
func (s served) ask(target string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: books\r\n\r\n", target); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// get sends a request and reads the whole response.
func (s served) get(target string) (int, string) {
	s.t.Helper()
	conn := s.ask(target)
	defer conn.Close()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatalf("%s: %v", target, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s: after %d bytes: %v", target, len(body), err)
	}
	return resp.StatusCode, string(body)
}

// await waits for a condition.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("this did not happen: " + what)
		}
	}
}

// TestClientsThatDoNotReadLockNobodyOut: 64 clients request the largest responses and read nothing. Others still get their responses,
// from every endpoint, and the bytes of unread responses are bounded.
func TestClientsThatDoNotReadLockNobodyOut(t *testing.T) {
	paths := make([]string, 12_000)
	for i := range paths {
		paths[i] = fmt.Sprintf("/users/%d", i)
	}
	events := eventStore(t, paths...)
	o := Options{
		Rows: events, Events: events, Plans: memPlans{}, Live: live.New(live.Options{}), Snapshots: new(snapshot.History),
		Storage: func(context.Context) (collector.Storage, error) { return collector.Storage{}, nil },
		Now:     func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler),
	}
	h := newHandler(o)
	s := serve(t, h.routes())
	const large = "/api/v1/events?limit=10000"
	_, body := s.get(large)
	var whole eventsAnswer
	if err := json.Unmarshal([]byte(body), &whole); err != nil || len(whole.Events) < 2000 {
		t.Fatalf("a page of %d events, %v", len(whole.Events), err)
	}
	for i := range 64 {
		s.ask(large)
		if i%8 == 0 {
			s.ask("/api/v1/tail")
			s.ask("/api/v1/live")
		}
	}
	await(t, "the clients' answers to be encoded", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.bytes > len(body) })
	for _, target := range []string{
		"/api/v1/paths", "/api/v1/series", "/api/v1/events?limit=1", "/api/v1/events/" + whole.Events[0].ID.String(), "/api/v1/archives",
		"/api/v1/storage", "/api/v1/recent", "/api/v1/openapi.json", "/api/v1/", "/snapshots", "/", large,
	} {
		if status, _ := s.get(target); status != http.StatusOK {
			t.Errorf("%s: %d", target, status)
		}
		h.mu.Lock()
		if h.bytes > unreadBytesMax || len(h.unread)*len(body) > unreadBytesMax+len(body) {
			t.Errorf("%d bytes are held for %d clients", h.bytes, len(h.unread))
		}
		h.mu.Unlock()
	}
}

// TestAnswersAreBounded requests events with the longest paths, consisting of the characters that are longest in JSON.
// Pages end early, and the next page continues where the previous one ended.
func TestAnswersAreBounded(t *testing.T) {
	paths := make([]string, 3000)
	for i := range paths {
		paths[i] = fmt.Sprintf("/%04d", i) + strings.Repeat("<", event.PathBytesMax-5)
	}
	s := serve(t, eventHandler(eventStore(t, paths...)))
	var seen, pages int
	for cursor := ""; ; pages++ {
		status, body := s.get("/api/v1/events?limit=10000&cursor=" + cursor)
		var page eventsAnswer
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
			t.Fatalf("%d, %v: %.200s", status, err, body)
		}
		if len(body) > answerBytesMax || len(page.Events) == 0 {
			t.Errorf("a page of %d bytes with %d events", len(body), len(page.Events))
		}
		seen += len(page.Events)
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if seen != len(paths) || pages == 0 {
		t.Errorf("%d of %d events on %d pages", seen, len(paths), pages+1)
	}
}

// stuckRows is a source whose queries end only with their context.
type stuckRows struct{ began, ended chan struct{} }

func (r stuckRows) Rows(ctx context.Context, _, _ int64, _ func(stats.Key, *stats.Row) error) error {
	r.began <- struct{}{}
	<-ctx.Done()
	r.ended <- struct{}{}
	return ctx.Err()
}

// panickingRows is a source that fails as a store with damaged mapped files may.
type panickingRows struct{}

func (panickingRows) Rows(context.Context, int64, int64, func(stats.Key, *stats.Row) error) error {
	panic("injected")
}

// TestPanicInAQuery: a panic while the halves of a range are being read leads to a response with status 500.
func TestPanicInAQuery(t *testing.T) {
	h := NewHandler(Options{Rows: panickingRows{}, Logger: slog.New(slog.DiscardHandler)})
	if resp := get(t, h, "/api/v1/series?from=-3h"); resp.StatusCode != http.StatusInternalServerError {
		t.Error(resp.Status)
	}
}

// TestClientsThatLeaveReleaseTheirSlot starts as many queries as may run at the same time, and closes their
// connections.
func TestClientsThatLeaveReleaseTheirSlot(t *testing.T) {
	rows := stuckRows{make(chan struct{}), make(chan struct{})}
	h := newHandler(Options{Rows: rows, Plans: memPlans{}, Logger: slog.New(slog.DiscardHandler)})
	s := serve(t, h.routes())
	for range 3 {
		var clients []net.Conn
		for range queriesMax {
			clients = append(clients, s.ask("/api/v1/paths"))
			<-rows.began
		}
		waiting := s.ask("/api/v1/paths") // disconnects before it has a slot
		await(t, "a query to wait", func() bool { return len(h.queries.waiting) == 1 })
		_ = waiting.Close()
		await(t, "the query to leave", func() bool { return len(h.queries.waiting) == 0 })
		for _, c := range clients {
			_ = c.Close()
			<-rows.ended
		}
		if status, _ := s.get("/api/v1/archives"); status != http.StatusOK {
			t.Errorf("another query: %d", status)
		}
	}
}

// TestWaitingQueriesAreBounded sends more queries than are allowed to wait.
func TestWaitingQueriesAreBounded(t *testing.T) {
	rows := stuckRows{make(chan struct{}), make(chan struct{}, queriesMax)}
	h := newHandler(Options{Rows: rows, Plans: memPlans{}, Logger: slog.New(slog.DiscardHandler)})
	s := serve(t, h.routes())
	for range queriesMax {
		s.ask("/api/v1/paths")
		<-rows.began
	}
	for range waitingMax {
		s.ask("/api/v1/archives")
	}
	await(t, "all places to be taken", func() bool { return len(h.queries.waiting) == waitingMax })
	if status, body := s.get("/api/v1/archives"); status != http.StatusServiceUnavailable || !strings.Contains(body, "too many queries") {
		t.Errorf("%d %s", status, body)
	}
}

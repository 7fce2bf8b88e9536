package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/internal/link/linktest"
)

func newServer(t *testing.T, token string) *Server {
	t.Helper()
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "wayside_test_gauge", Help: "A figure of the traffic process."})
	gauge.Set(7)
	registry.MustRegister(gauge)
	return New(Options{
		Token: token, Hosts: []string{"books.example"}, Gatherer: registry, Logger: slog.New(slog.DiscardHandler),
		Snapshots:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "snapshot of "+r.URL.Path) }),
		Accounting: func(context.Context) (any, error) { return map[string]int{"responses": 3}, nil },
		Checks: []Check{
			{"spool", func() (bool, string) { return true, "3 segments" }},
			{"archive", func() (bool, string) { return false, "s3 is away" }},
		},
	})
}

type answer struct {
	status int
	body   string
	header http.Header
}

func get(h http.Handler, method, target string, header ...string) answer {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:8091"
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Body.String(), w.Header()}
}

// books plays the books process at the other end of the relay.
func books(t *testing.T, s *Server, handler http.Handler) (leave func()) {
	t.Helper()
	dialer, leave := linktest.Serve(t, handler)
	s.SetBooks(dialer)
	return leave
}

func TestBooksAway(t *testing.T) {
	s := newServer(t, "")
	h := s.Handler()
	if a := get(h, "GET", "/api/v1/paths"); a.status != 503 || !strings.Contains(a.body, "away") {
		t.Errorf("relayed without a books process: %d %s", a.status, a.body)
	}
	for path, want := range map[string]string{
		"/livez": "ok", "/snapshot": "snapshot of /snapshot", "/api/v1/accounting": `"responses": 3`, "/metrics": "wayside_test_gauge 7",
	} {
		if a := get(h, "GET", path); a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s without a books process: %d %s", path, a.status, a.body)
		}
	}
	if _, err := s.AskBooks(context.Background(), "GET", "/"); !errors.Is(err, ErrBooksAway) {
		t.Errorf("asked nobody: %v", err)
	}
}

func TestRelay(t *testing.T) {
	s := newServer(t, "")
	leave := books(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = io.WriteString(w, "wayside_books_gauge 9\n")
			return
		}
		if r.URL.Path == "/fail" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI())
	}))
	h := s.Handler()
	if a := get(h, "GET", "/api/v1/paths?limit=3"); a.status != 200 || a.body != "GET /api/v1/paths?limit=3" {
		t.Errorf("relayed: %d %q", a.status, a.body)
	}
	if a := get(h, "GET", "/metrics"); !strings.Contains(a.body, "wayside_test_gauge 7") || !strings.Contains(a.body, "wayside_books_gauge 9") {
		t.Errorf("metrics of both processes: %s", a.body)
	}
	if a := get(h, "GET", InternalPrefix+"cut"); a.status != 404 {
		t.Errorf("an internal path got through: %d %s", a.status, a.body)
	}
	if body, err := s.AskBooks(context.Background(), "POST", InternalPrefix+"finish"); err != nil || string(body) != "POST /internal/finish" {
		t.Errorf("asked the books: %q, %v", body, err)
	}
	if _, err := s.AskBooks(context.Background(), "GET", "/fail"); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("a refusal: %v", err)
	}
	leave()
	if a := get(h, "GET", "/api/v1/paths"); a.status != 503 {
		t.Errorf("after it left: %d %s", a.status, a.body)
	}
}

// TestRelayToBooksThatHang: whoever asks is told, in bounded time; a job takes as long as it takes.
func TestRelayToBooksThatHang(t *testing.T) {
	s := newServer(t, "")
	s.relay.wait = 50 * time.Millisecond
	asked, released := make(chan struct{}), make(chan struct{})
	books(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == PathThere {
			return
		}
		if r.Method == http.MethodPost {
			asked <- struct{}{}
		}
		<-released
		_, _ = io.WriteString(w, "done")
	}))
	h := s.Handler()
	job := make(chan answer, 1)
	go func() { job <- get(h, "POST", "/-/job/archive") }()
	<-asked
	if a := get(h, "GET", "/api/v1/paths"); a.status != 503 || !strings.Contains(a.body, "does not answer") {
		t.Errorf("a question: %d %s", a.status, a.body)
	}
	close(released)
	if a := <-job; a.status != 200 || a.body != "done" {
		t.Errorf("a job: %d %s", a.status, a.body)
	}
}

func TestToken(t *testing.T) {
	h := newServer(t, "secret").Handler()
	if a := get(h, "GET", "/snapshot"); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("no token: %d", a.status)
	}
	for _, wrong := range []string{"Bearer secre", "Bearer secret2", "secret", "Basic secret"} {
		if a := get(h, "GET", "/snapshot", "Authorization", wrong); a.status != 401 {
			t.Errorf("%q: %d", wrong, a.status)
		}
	}
	if a := get(h, "GET", "/snapshot", "Authorization", "Bearer secret"); a.status != 200 {
		t.Errorf("the token: %d", a.status)
	}
	if a := get(h, "GET", "/livez"); a.status != 200 {
		t.Errorf("livez asks for a token: %d", a.status)
	}
}

func TestHostAllowed(t *testing.T) {
	h := newServer(t, "").Handler()
	for host, want := range map[string]int{
		"127.0.0.1:8091": 200, "localhost:8091": 200, "[::1]:8091": 200, "books.example": 200, "LOCALHOST": 200,
		"evil.example": 421, "localhost.evil.example:8091": 421, "127.0.0.1.nip.example": 421,
	} {
		if a := get(h, "GET", "/snapshot", "Host", host); a.status != want {
			t.Errorf("host %s: %d, want %d", host, a.status, want)
		}
	}
}

func TestForeignPagesCannotPost(t *testing.T) {
	s := newServer(t, "")
	books(t, s, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") }))
	h := s.Handler()
	if a := get(h, "POST", "/-/job/clean", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("a foreign page posted: %d", a.status)
	}
	if a := get(h, "POST", "/-/job/clean"); a.status != 200 {
		t.Errorf("a command line posted: %d", a.status)
	}
}

func TestReadiness(t *testing.T) {
	s := newServer(t, "")
	for _, h := range []http.Handler{s.Handler(), s.ProbesHandler()} {
		s.SetReady(false)
		if a := get(h, "GET", "/readyz"); a.status != 503 {
			t.Errorf("not ready: %d", a.status)
		}
		s.SetReady(true)
		a := get(h, "GET", "/readyz?verbose")
		if a.status != 200 || a.body != "[+] spool: 3 segments\n[!] archive: s3 is away\nok\n" {
			t.Errorf("ready, though a check is unhappy: %d %q", a.status, a.body)
		}
	}
	if a := get(s.ProbesHandler(), "GET", "/snapshot"); a.status != 404 {
		t.Errorf("the probes listener answers more than probes: %d", a.status)
	}
}

func TestProfilesOnlyWhenAsked(t *testing.T) {
	s := newServer(t, "")
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/profile?seconds=1", "/debug/pprof/heap"} {
		if a := get(s.Handler(), "GET", path); a.status != 404 || !strings.Contains(a.body, "admin.pprof") {
			t.Errorf("%s, not asked for: %d %.100s", path, a.status, a.body)
		}
	}
	s.opt.Profiles = true
	if a := get(s.Handler(), "GET", "/debug/pprof/goroutine"); a.status != 200 || len(a.body) == 0 {
		t.Errorf("asked for: %d", a.status)
	}
	if a := get(s.ProbesHandler(), "GET", "/debug/pprof/goroutine"); a.status != 404 {
		t.Errorf("the probes listener has profiles: %d", a.status)
	}
	if a := get(s.Handler(), "GET", "/debug/pprof/cmdline"); a.status != 404 {
		t.Errorf("the command line is shown: %d", a.status)
	}
	s.opt.Token = "secret"
	if a := get(s.Handler(), "GET", "/debug/pprof/goroutine"); a.status != 401 {
		t.Errorf("no token: %d", a.status)
	}
}

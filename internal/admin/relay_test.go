package admin

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/link/linktest"
	"github.com/wayside-proxy/wayside/internal/secure"
)

// books starts a books process at the other end of the relay.
func books(t *testing.T, s *Server, handler http.Handler) (leave func()) {
	t.Helper()
	dialer, leave := linktest.Serve(t, secure.Handler(handler))
	s.SetBooks(dialer)
	return leave
}

func TestBooksAway(t *testing.T) {
	s := newServer(t, "")
	h := listen(t, s.Serve)
	if a := get(t, h, "GET", "/api/v1/paths"); a.status != 503 || !strings.Contains(a.body, "unavailable") {
		t.Errorf("relayed without a books process: %d %s", a.status, a.body)
	}
	for path, want := range map[string]string{
		"/livez": "ok", "/snapshot": "snapshot of /snapshot", "/api/v1/accounting": `"responses": 3`, "/metrics": "wayside_test_gauge 7",
	} {
		if a := get(t, h, "GET", path); a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s without a books process: %d %s", path, a.status, a.body)
		}
	}
	if _, err := s.AskBooks(t.Context(), "GET", "/"); !errors.Is(err, ErrBooksAway) {
		t.Errorf("asked nobody: %v", err)
	}
}

// TestMethodsOfRelayedPages: the response to a wrong method on a relayed page names the methods of that page.
func TestMethodsOfRelayedPages(t *testing.T) {
	s := newServer(t, "")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/paths", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /-/job/archive", func(http.ResponseWriter, *http.Request) {})
	books(t, s, mux)
	h := listen(t, s.Serve)
	for path, allow := range map[string]string{"/api/v1/paths": "GET, HEAD", "/-/job/archive": "POST"} {
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			if a := get(t, h, method, path); a.status != 405 || a.header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow: %s", method, path, a.status, a.header.Get("Allow"))
			}
		}
	}
	if a := get(t, h, "BREW", "/api/v1/paths"); a.status != 405 || a.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("%d, Allow: %s", a.status, a.header.Get("Allow"))
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
	h := listen(t, s.Serve)
	if a := get(t, h, "GET", "/api/v1/paths?limit=3"); a.status != 200 || a.body != "GET /api/v1/paths?limit=3" {
		t.Errorf("relayed: %d %q", a.status, a.body)
	}
	if a := get(t, h, "GET", "/metrics"); !strings.Contains(a.body, "wayside_test_gauge 7") || !strings.Contains(a.body, "wayside_books_gauge 9") {
		t.Errorf("metrics of both processes: %s", a.body)
	}
	if a := get(t, h, "GET", InternalPrefix+"cut"); a.status != 404 {
		t.Errorf("an internal path got through: %d %s", a.status, a.body)
	}
	if body, err := s.AskBooks(t.Context(), "POST", InternalPrefix+"finish"); err != nil || string(body) != "POST /internal/finish" {
		t.Errorf("asked the books: %q, %v", body, err)
	}
	if _, err := s.AskBooks(t.Context(), "GET", "/fail"); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("a refusal: %v", err)
	}
	leave()
	if a := get(t, h, "GET", "/api/v1/paths"); a.status != 503 {
		t.Errorf("after it left: %d %s", a.status, a.body)
	}
}

// TestRelayToBooksThatHang: a query gets a 503 within limited time. A job has no time limit.
func TestRelayToBooksThatHang(t *testing.T) {
	s := newServer(t, "")
	s.books.answer = 50 * time.Millisecond
	asked, released := make(chan struct{}), make(chan struct{})
	books(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == PathPing {
			return
		}
		if r.Method == http.MethodPost {
			asked <- struct{}{}
		}
		<-released
		_, _ = io.WriteString(w, "done")
	}))
	h := listen(t, s.Serve)
	job := make(chan answer, 1)
	go func() { job <- get(t, h, "POST", "/-/job/archive") }()
	<-asked
	if a := get(t, h, "GET", "/api/v1/paths"); a.status != 503 || !strings.Contains(a.body, "does not respond") {
		t.Errorf("a question: %d %s", a.status, a.body)
	}
	close(released)
	if a := <-job; a.status != 200 || a.body != "done" {
		t.Errorf("a job: %d %s", a.status, a.body)
	}
}

package admin

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/internal/secure"
)

func newServer(t *testing.T, token string) *Server {
	t.Helper()
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "wayside_test_gauge", Help: "A figure of the traffic process."})
	gauge.Set(7)
	registry.MustRegister(gauge)
	s := New(Options{
		Token: token, Hosts: []string{"books.example"}, Gatherer: registry, Logger: slog.New(slog.DiscardHandler),
		Snapshots: func(path, _, _ string) (int, [][2]string, []byte) {
			return 200, [][2]string{{"Content-Type", "text/plain"}}, []byte("snapshot of " + path)
		},
		Accounting: func(context.Context) (any, error) { return map[string]int{"responses": 3}, nil },
		Checks: []Check{
			{"spool", func() (bool, string) { return true, "3 segments" }},
			{"archive", func() (bool, string) { return false, "s3 is away" }},
		},
	})
	s.tokens.delay = time.Millisecond
	return s
}

// listen serves on a free port until the test ends.
func listen(t testing.TB, serve func(ctx context.Context, ln net.Listener, grace time.Duration) error) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, 100*time.Millisecond) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

type answer struct {
	status int
	body   string
	header http.Header
}

// client uses a new connection for each request, and follows no redirects.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

// get sends a request, and checks the fields that every response has.
func get(t testing.TB, address, method, target string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	for _, field := range secure.Fields {
		if got := resp.Header.Values(field[0]); len(got) != 1 || got[0] != field[1] {
			t.Errorf("%s %s, %d: %s is %q", method, target, resp.StatusCode, field[0], got)
		}
	}
	if resp.Header.Get("Server") != "" {
		t.Errorf("%s %s: Server: %s", method, target, resp.Header.Get("Server"))
	}
	return answer{resp.StatusCode, string(body), resp.Header}
}

func TestToken(t *testing.T) {
	s := newServer(t, "secret")
	var log bytes.Buffer
	s.tokens.log = slog.New(slog.NewTextHandler(&log, nil))
	h := listen(t, s.Serve)
	if a := get(t, h, "GET", "/snapshot"); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("no token: %d", a.status)
	}
	wrong := []string{"Bearer secre", "Bearer secret2", "Bearer", "secret", "Basic secret", "Basic OnNlY3Jl", "Basic Og=="}
	for _, wrong := range wrong {
		if a := get(t, h, "GET", "/snapshot", "Authorization", wrong); a.status != 401 {
			t.Errorf("%q: %d", wrong, a.status)
		}
	}
	if n := s.WrongTokens(); n != uint64(len(wrong)) {
		t.Errorf("%d wrong tokens, want %d", n, len(wrong))
	}
	if said := log.String(); strings.Count(said, "wrong token") != 1 || !strings.Contains(said, "address=127.0.0.1:") || strings.Contains(said, "secre") {
		t.Errorf("the log: %q", said)
	}
	if a := get(t, h, "GET", "/snapshot", "Authorization", "Basic OnNlY3JldA=="); a.status != 200 {
		t.Errorf("the token as a password: %d", a.status)
	}
	if a := get(t, h, "GET", "/snapshot", "Authorization", "Bearer secret"); a.status != 200 {
		t.Errorf("the token: %d", a.status)
	}
	if a := get(t, h, "GET", "/livez"); a.status != 200 {
		t.Errorf("livez asks for a token: %d", a.status)
	}
}

func TestHostAllowed(t *testing.T) {
	h := listen(t, newServer(t, "").Serve)
	for host, want := range map[string]int{
		"127.0.0.1:8091": 200, "localhost:8091": 200, "[::1]:8091": 200, "books.example": 200, "LOCALHOST": 200,
		"evil.example": 421, "localhost.evil.example:8091": 421, "127.0.0.1.nip.example": 421,
	} {
		if a := get(t, h, "GET", "/snapshot", "Host", host); a.status != want {
			t.Errorf("host %s: %d, want %d", host, a.status, want)
		}
	}
}

// TestForeignPages: a page of another origin may neither send POST requests nor use the API.
func TestForeignPages(t *testing.T) {
	s := newServer(t, "")
	books(t, s, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") }))
	h := listen(t, s.Serve)
	for _, c := range []struct {
		fields  []string
		foreign bool
	}{
		{nil, false},
		{[]string{"Sec-Fetch-Site", "same-origin"}, false},
		{[]string{"Sec-Fetch-Site", "none"}, false},
		{[]string{"Sec-Fetch-Site", "cross-site"}, true},
		{[]string{"Sec-Fetch-Site", "same-site"}, true}, // another port of localhost
		{[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, true},
		{[]string{"Origin", "https://evil.example"}, true},
		{[]string{"Origin", "null"}, true},
		{[]string{"Origin", "http://" + h}, false},
		{[]string{"Origin", "http://127.0.0.1:1"}, true},
	} {
		for _, ask := range []string{"GET /api/v1/paths", "HEAD /api/v1/paths", "GET /api/v1/accounting", "GET //api/v1/paths", "POST /-/job/clean", "POST /api/v1/verify", "DELETE /x"} {
			method, path, _ := strings.Cut(ask, " ")
			if a := get(t, h, method, path, c.fields...); (a.status == 403) != c.foreign {
				t.Errorf("%s with %v: %d", ask, c.fields, a.status)
			}
		}
		for _, path := range []string{"/", "/livez", "/snapshot"} {
			if a := get(t, h, "GET", path, c.fields...); a.status != 200 {
				t.Errorf("%s with %v: %d", path, c.fields, a.status)
			}
		}
	}
}

// TestVerify: verify needs POST, runs once at a time, and ends when its client disconnects.
func TestVerify(t *testing.T) {
	s := newServer(t, "")
	began, release, ended := make(chan bool, 10), make(chan struct{}), make(chan error, 10)
	s.opt.Verify = func(ctx context.Context, local bool) (any, error) {
		began <- local
		select {
		case <-release:
		case <-ctx.Done():
		}
		ended <- context.Cause(ctx)
		return map[string]bool{"ok": true}, ctx.Err()
	}
	h := listen(t, s.Serve)
	for _, method := range []string{"GET", "HEAD", "PUT"} {
		if a := get(t, h, method, "/api/v1/verify"); a.status != 405 || a.header.Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow: %s", method, a.status, a.header.Get("Allow"))
		}
	}
	for _, wrong := range []string{"local=yes", "local=1", "local=true&local=false"} {
		if a := get(t, h, "POST", "/api/v1/verify?"+wrong); a.status != 400 || len(began) > 0 {
			t.Errorf("%s: %d", wrong, a.status)
		}
	}
	gone, err := net.Dial("tcp", h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(gone, "POST /api/v1/verify?local=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if !<-began {
		t.Error("the parameter is lost")
	}
	if a := get(t, h, "POST", "/api/v1/verify"); a.status != 409 {
		t.Errorf("a second one: %d %s", a.status, a.body)
	}
	_ = gone.Close()
	if err := <-ended; err == nil {
		t.Error("it goes on without its client")
	}
	close(release)
	waitFor(t, "none can be had any more", func() bool { return get(t, h, "POST", "/api/v1/verify").status == 200 })
	if len(began) == 0 || <-began {
		t.Error("local is set")
	}
}

func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestReadiness(t *testing.T) {
	s := newServer(t, "")
	admin, probes := listen(t, s.Serve), listen(t, s.ServeProbes)
	for _, h := range []string{admin, probes} {
		s.SetReady(false)
		if a := get(t, h, "GET", "/readyz"); a.status != 503 {
			t.Errorf("not ready: %d", a.status)
		}
		s.SetReady(true)
		if a := get(t, h, "GET", "/readyz"); a.status != 200 || a.body != "ok\n" {
			t.Errorf("ready, though a check is unhappy: %d %q", a.status, a.body)
		}
	}
	for _, path := range []string{"/snapshot", "/api/v1/paths", "/-/reload", "/", "/debug/pprof/heap", InternalPrefix + "view"} {
		if a := get(t, probes, "GET", path); a.status != 404 {
			t.Errorf("the probes listener answers more than probes: %s: %d", path, a.status)
		}
	}
}

// TestDashboardWithoutBooks: the page and its files are there while the books process is away, compressed and with an ETag.
func TestDashboardWithoutBooks(t *testing.T) {
	h := listen(t, newServer(t, "").Serve)
	if a := get(t, h, "GET", "/api/v1/paths"); a.status != 503 {
		t.Fatalf("the books are away: %d", a.status)
	}
	for path, text := range map[string]string{"/": "<title>wayside</title>", "/assets/app.js": "wayside dashboard", "/assets/style.css": "--ground", "/assets/icon.svg": "<svg"} {
		if a := get(t, h, "GET", path); a.status != 200 || !strings.Contains(a.body, text) {
			t.Errorf("%s: %d %.100s", path, a.status, a.body)
		}
		if a := get(t, h, "POST", path); a.status != 405 {
			t.Errorf("POST %s: %d", path, a.status)
		}
	}
}

func TestProfilesOnlyWhenAsked(t *testing.T) {
	s := newServer(t, "")
	h := listen(t, s.Serve)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/profile?seconds=1", "/debug/pprof/heap"} {
		if a := get(t, h, "GET", path); a.status != 404 || !strings.Contains(a.body, "admin.pprof") {
			t.Errorf("%s, not asked for: %d %.100s", path, a.status, a.body)
		}
	}
	s.opt.Profiles = true
	if a := get(t, h, "GET", "/debug/pprof/goroutine"); a.status != 200 || len(a.body) == 0 {
		t.Errorf("asked for: %d", a.status)
	}
	if a := get(t, h, "GET", "/debug/pprof/goroutine", "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("asked for by a page of another site: %d", a.status)
	}
	if a := get(t, h, "GET", "/debug/pprof/cmdline"); a.status != 404 {
		t.Errorf("the command line is shown: %d", a.status)
	}
	s.opt.Token = "secret"
	if a := get(t, h, "GET", "/debug/pprof/goroutine"); a.status != 401 {
		t.Errorf("no token: %d", a.status)
	}
}

// details are requests whose response has a part that not everyone may see.
var details = []string{"/readyz?verbose", "/metrics"}

// TestDetailsOnlyWithTheToken: without the token, the probes listener and /readyz show no details.
func TestDetailsOnlyWithTheToken(t *testing.T) {
	const verbose, terse = "[+] spool: 3 segments\n[!] archive: s3 is away\nok\n", "[+] spool: ok\n[!] archive: failed\nok\n"
	for _, token := range []string{"", "secret"} {
		s := newServer(t, token)
		s.SetReady(true)
		books(t, s, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "# TYPE r histogram\nr_count{http_request_method=\"GET\",http_route=\"/secret\"} 1\nwayside_books_gauge 9\n")
		}))
		admin, probes := listen(t, s.Serve), listen(t, s.ServeProbes)
		for _, c := range []struct {
			where, address string
			auth           []string
			detailed       bool
		}{
			{"admin", admin, nil, token == ""},
			{"probes", probes, nil, false},
			{"admin with the token", admin, []string{"Authorization", "Bearer secret"}, true},
			{"probes with the token", probes, []string{"Authorization", "Bearer secret"}, token != ""},
		} {
			want := terse
			if c.detailed {
				want = verbose
			}
			if a := get(t, c.address, "GET", "/readyz?verbose", c.auth...); a.status != 200 || a.body != want {
				t.Errorf("token %q, %s: %d %q, want %q", token, c.where, a.status, a.body, want)
			}
			if c.where == "admin" && token != "" {
				continue // requires the token
			}
			a := get(t, c.address, "GET", "/metrics", c.auth...)
			if a.status != 200 || strings.Contains(a.body, "/secret") != c.detailed || !strings.Contains(a.body, "wayside_books_gauge 9") || !strings.Contains(a.body, "wayside_test_gauge 7") {
				t.Errorf("token %q, %s: %d %q", token, c.where, a.status, a.body)
			}
		}
		if token == "" {
			continue
		}
		for _, address := range []string{admin, probes} {
			for _, path := range details {
				if a := get(t, address, "GET", path, "Authorization", "Bearer wrong"); a.status != 401 {
					t.Errorf("%s with a wrong token: %d", path, a.status)
				}
			}
			for _, path := range []string{"/livez", "/readyz"} {
				if a := get(t, address, "GET", path, "Authorization", "Bearer wrong"); a.status != 200 {
					t.Errorf("%s with a wrong token: %d", path, a.status)
				}
			}
		}
		if n := s.WrongTokens(); n != 4 {
			t.Errorf("%d wrong tokens, want 4", n)
		}
	}
}

package traffic

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/proxy/route"
)

// site is a configuration with routes, and the files that it names.
type site struct {
	t                  *testing.T
	dir, origin        string
	addr               string
	signals            chan os.Signal
	page, user, secret string
	more               string // further routes
}

func (s *site) write() {
	s.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(s.secret), bcrypt.MinCost)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"page.html": s.page,
		"users":     s.user + ":" + string(hash) + "\n",
		"wayside.yaml": fmt.Sprintf(`
listen: 127.0.0.1:0
admin: {listen: 127.0.0.1:0}
collector: {enabled: false}
data: {dir: %[1]s/data}
proxy: {trusted_proxies: [127.0.0.1]}
upstreams: {web: %[2]s, api: %[2]s}
routes:
  - {name: old, host: old.example, redirect: https://new.example}
  - {name: closed, path: /closed/*, respond: {status: 503, body_file: %[1]s/page.html}, response_fields: {set: ["Retry-After: 60"]}}
  - {name: text, path: /text, respond: {status: 200, body: hello}}
  - {name: gone, path: /gone, respond: {status: 410}}
  - {name: admin, path: /admin/*, allow: [10.0.0.0/8], auth_file: %[1]s/users, to: web, strip_prefix: /admin}
  - {name: small, path: /small, to: {web: 1, api: 1}, body_bytes_max: 10B, request_fields: {set: ["X-Route: small"]}}
%[3]s`, s.dir, s.origin, s.more),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) load() (*configs.Config, error) {
	return configs.Load(configs.LoadOptions{File: filepath.Join(s.dir, "wayside.yaml"), TrafficFiles: true})
}

// startSite runs the traffic process until the test ends.
func startSite(t *testing.T, origin string) *site {
	s := &site{t: t, dir: t.TempDir(), origin: origin, signals: make(chan os.Signal, 1), page: "<p>one", user: "ann", secret: "first"}
	s.write()
	cfg, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, started := make(chan error, 1), make(chan string, 1)
	go func() {
		ended <- Run(ctx, Options{
			Config: cfg, Reload: s.load, LogTo: t.Output(), AccessTo: io.Discard, Signals: s.signals,
			Started: func(i datadir.Info) { started <- i.Listen },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	s.addr = <-started
	return s
}

type reply struct {
	status                   int
	body, location, typeName string
}

func (s *site) get(path string, fields ...string) reply {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addr+path, strings.NewReader(""))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, string(body), resp.Header.Get("Location"), resp.Header.Get("Content-Type")}
}

// TestRoutesFromFileToResponse: clients get the responses that the configuration describes, and a reload reads all files again.
func TestRoutesFromFileToResponse(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.URL.Path, r.Header.Get("X-Route"))
	}))
	t.Cleanup(origin.Close)
	s := startSite(t, origin.URL)
	inside := "X-Forwarded-For: 10.1.2.3"
	basic := func(user, password string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	text := "text/plain; charset=utf-8"
	for _, tt := range []struct {
		path   string
		fields []string
		want   reply
	}{
		{"/x?y", []string{"Host: old.example"}, reply{308, "", "https://new.example/x?y", ""}},
		{"/closed/x", nil, reply{503, "<p>one", "", "text/html; charset=utf-8"}},
		{"/text", nil, reply{200, "hello", "", text}},
		{"/gone", nil, reply{410, "Gone\n", "", text}},
		{"/admin/x", []string{inside, basic("ann", "first")}, reply{200, "/x ", "", text}},
		{"/small", nil, reply{200, "/small small", "", text}},
	} {
		if got := s.get(tt.path, tt.fields...); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.path, got, tt.want)
		}
	}
	for path, want := range map[string]int{"/nothing": 404, "/admin/x": 403, "/admin%2fx": 400} {
		if got := s.get(path); got.status != want {
			t.Errorf("%s: %+v, want %d", path, got, want)
		}
	}
	if got := s.get("/admin/x", inside); got.status != 401 {
		t.Errorf("without a password: %+v", got)
	}

	s.page, s.secret, s.more = "<p>two", "second", "  - {name: rest, to: web}\n"
	s.write()
	s.signals <- syscall.SIGHUP
	eventually(t, func() error {
		if got := s.get("/nothing"); got.status != 200 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if got := s.get("/closed"); got.body != "<p>two" {
		t.Errorf("the page was not read again: %+v", got)
	}
	if got := s.get("/admin/", inside, basic("ann", "first")); got.status != 401 {
		t.Errorf("the old password: %+v", got)
	}
	if got := s.get("/admin/", inside, basic("ann", "second")); got.status != 200 {
		t.Errorf("the new password: %+v", got)
	}
}

// TestUnreadUsers: a route does not lose its protection because its file of users has not been read.
func TestUnreadUsers(t *testing.T) {
	cfg := configs.Default()
	cfg.Routes = []configs.Route{{Name: "admin", AuthFile: "users", Respond: &configs.Respond{Status: 200}}}
	if p, err := proxy.New(proxyOptions(&cfg, nil, nil, slog.Default())); err == nil {
		_ = p.Shutdown(t.Context())
		t.Error("the route needs no password")
	}
}

// TestWarningsAgreeWithMatching: `config check` warns of a route if, and only if, one of the routes before it matches all of its requests. The
// warnings are compared with how requests that distinguish all the conditions are really matched.
func TestWarningsAgreeWithMatching(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	some := func(from ...string) string { return from[r.IntN(len(from))] }
	requests, warned := distinguishingRequests(), 0
	for range 300 {
		c, taken := &configs.Config{}, [][]bool{}
		for i := range 4 {
			to := configs.Route{
				Name: fmt.Sprint("r", i), Host: some("", "a.b", "*.b", "b", "*.a.b"), Path: some("", "/*", "/a", "/a/*", "/a/b", "/a/b/*", "/ab", "/"),
				Redirect: "https://elsewhere.example",
			}
			if r.IntN(3) == 0 {
				to.Methods = []string{some("GET", "POST"), "PUT"}
			}
			if r.IntN(3) == 0 {
				to.Headers = map[string]string{some("X-A", "x-a"): some("1", "2")}
			}
			c.Routes = append(c.Routes, to)
			taken = append(taken, matches(t, &to, requests))
		}
		var want []string
		for later := range taken {
			first := slices.IndexFunc(taken[:later], func(earlier []bool) bool {
				return !slices.Contains(pairs(earlier, taken[later]), [2]bool{false, true})
			})
			if first >= 0 {
				want = append(want, fmt.Sprintf("route r%d can never match, because route r%d before it", later, first))
			}
		}
		warnings := c.Warnings()
		warned += len(warnings)
		if !slices.EqualFunc(warnings, want, func(w *configs.Error, text string) bool { return strings.Contains(w.Error(), text) }) {
			t.Fatalf("warnings %v, want %q: %+v", warnings, want, c.Routes)
		}
	}
	if warned < 100 {
		t.Errorf("only %d warnings", warned)
	}
}

// distinguishingRequests returns requests such that for any two different conditions in TestWarningsAgreeWithMatching, there is one that meets
// only one of the two.
func distinguishingRequests() (list []route.Request) {
	for _, host := range []string{"b", "a.b", "x.b", "x.a.b", "ab", "c"} {
		for _, path := range []string{"*", "/", "/a", "/a/", "/a/b", "/a/b/c", "/a/c", "/ab", "/c"} {
			for _, method := range []string{"GET", "PUT", "POST", "OPTIONS"} {
				for _, field := range []string{"X-A: 1\r\n", "X-A: 2\r\n", "X-A: 1\r\nX-A: 2\r\n", ""} {
					list = append(list, route.Request{Host: []byte(host), Path: []byte(path), Method: []byte(method), Fields: []byte(field)})
				}
			}
		}
	}
	return list
}

// matches reports for each request whether it meets the conditions of a route.
func matches(t *testing.T, r *configs.Route, requests []route.Request) []bool {
	t.Helper()
	l, err := route.New([]route.Conditions{routeConditions(r)})
	if err != nil {
		t.Fatal(err)
	}
	result, scratch := make([]bool, len(requests)), &route.Scratch{}
	for i := range requests {
		index, err := l.Match(&requests[i], scratch)
		result[i] = err == nil && index == 0
	}
	return result
}

func pairs(a, b []bool) [][2]bool {
	list := make([][2]bool, len(a))
	for i := range a {
		list[i] = [2]bool{a[i], b[i]}
	}
	return list
}

// TestAcceptedRoutesStart: the proxy can start with every route that `config check` accepts.
func TestAcceptedRoutesStart(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	text := func(first string, parts ...string) string {
		s := first
		for range r.IntN(5) {
			s += parts[r.IntN(len(parts))]
		}
		return s
	}
	file, accepted := filepath.Join(t.TempDir(), "wayside.yaml"), 0
	for range 3000 {
		host := text("", "a", ".", "*.", "*", "::", "1", "[", "]", ":", "-", "é", "_")
		path := text("/", "a", "/", "*", "/*", ".", "..", "%", ";", "é", " ", "\\", "?", "{", "#", "~", "+")
		prefix := text("/", "a", "/", ".", "..", "é", " ", "*", "~")
		yaml := fmt.Sprintf("upstreams: {w: http://127.0.0.1:1}\nroutes:\n  - {name: r, host: %q, path: %q, to: w}\n  - {name: s, strip_prefix: %q, to: w}\n", host, path, prefix)
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(configs.LoadOptions{File: file, TrafficFiles: true})
		if err != nil {
			continue
		}
		accepted++
		p, err := proxy.New(proxyOptions(cfg, nil, nil, slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		_ = p.Shutdown(t.Context())
	}
	if accepted < 30 {
		t.Errorf("only %d were accepted", accepted)
	}
	t.Log(accepted, "were accepted")
}

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wayside-proxy/wayside/internal/sampleapp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a wayside without a disk: a proxy that counts, and the two pages of the admin listener that the demo reads.
// Each lose field makes one figure too small.
type fake struct {
	mu        sync.Mutex
	responses uint64
	rows      map[row]uint64
	archived  int
	archives  int // number of calls of Archive
	inFlight  bool

	loseRecorded, loseRow uint64
	loseLines             int

	proxy, admin *httptest.Server
}

var digits = regexp.MustCompile(`[0-9][0-9a-f-]*`)

func startFake(t *testing.T) *fake {
	t.Helper()
	appURL, stop, err := sampleapp.Start(sampleapp.Options{Seed: 1, Sleep: func(_ context.Context, d time.Duration) {
		if d >= 200*time.Millisecond {
			time.Sleep(2 * abandonAfter) // long enough for a client to disconnect
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	target, err := url.Parse(appURL)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{rows: map[row]uint64{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	forward := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:    transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(499) },
	}
	f.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer f.record(r.Method, r.URL.Path)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(f.proxy.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/accounting", f.accounting)
	mux.HandleFunc("GET /api/v1/paths", f.paths)
	f.admin = httptest.NewServer(mux)
	t.Cleanup(f.admin.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return f
}

func (f *fake) record(method, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.responses++
	f.rows[row{Host: demoHost, Method: method, Path: digits.ReplaceAllString(path, "{id}")}]++
}

func (f *fake) accounting(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{
		"responses": f.responses, "recorded": f.responses - f.loseRecorded, "dropped": map[string]int{},
		"applied": f.responses, "aggregated": f.responses - f.loseRow, "archived": f.archived, "settled": !f.inFlight, "books": "connected",
	})
}

func (f *fake) paths(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lose := f.loseRow
	var rows []row
	for r, n := range f.rows {
		r.Count = n - lose
		lose = 0
		rows = append(rows, r)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"paths": rows, "rows": len(rows)})
}

func (f *fake) options(out *bytes.Buffer) Options {
	return Options{
		Requests: 400, Seed: 7, ProxyURL: f.proxy.URL, AdminURL: f.admin.URL, ArchiveURL: "file:///somewhere", Out: out,
		SettleTimeout: 10 * time.Second,
		Archive: func(context.Context) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.archives++
			f.archived = int(f.responses)
			return nil
		},
		CountArchive: func(context.Context) (int, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return max(f.archived-f.loseLines, 0), nil
		},
	}
}

func TestRunAgrees(t *testing.T) {
	f := startFake(t)
	var out bytes.Buffer
	if err := Run(t.Context(), f.options(&out)); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"sent                 400", "archived             400", "The four figures agree.", "GET /users/{id}\n", "Archive    file:///somewhere\n", "wayside top --admin " + f.admin.URL + "\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "\r") {
		t.Error("progress is drawn in place although the output is no terminal")
	}
	if f.archives != 1 {
		t.Errorf("archived %d times", f.archives)
	}
}

// On a used data directory, only differences count. Events that had not been archived before are archived first.
func TestRunOnUsedDirectory(t *testing.T) {
	f := startFake(t)
	for range 3 {
		f.record("GET", "/users/1")
		f.record("GET", livePrefix+"1")
	}
	for range 2 {
		var out bytes.Buffer
		if err := Run(t.Context(), f.options(&out)); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
	}
	if f.archives != 3 {
		t.Errorf("archived %d times, want twice for the first run and once for the second", f.archives)
	}
}

// A missing event is found, whichever figure lacks it.
func TestRunFindsOneMissing(t *testing.T) {
	for name, breakIt := range map[string]func(f *fake){
		"recorded":   func(f *fake) { f.loseRecorded = 1 },
		"aggregated": func(f *fake) { f.loseRow = 1 },
		"archived":   func(f *fake) { f.loseLines = 1 },
		"one more":   func(f *fake) { f.record("GET", "/") },
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			var out bytes.Buffer
			o := f.options(&out)
			archive := o.Archive
			o.Archive = func(ctx context.Context) error {
				breakIt(f)
				return archive(ctx)
			}
			if err := Run(t.Context(), o); !errors.Is(err, ErrDisagree) {
				t.Errorf("error %v\n%s", err, &out)
			}
			if !strings.Contains(out.String(), "THE FIGURES DO NOT AGREE") {
				t.Errorf("summary:\n%s", &out)
			}
		})
	}
}

func TestRunNeverSettles(t *testing.T) {
	f := startFake(t)
	var out bytes.Buffer
	o := f.options(&out)
	o.Requests, o.SettleTimeout = 10, 20*time.Millisecond
	f.inFlight = true
	err := Run(t.Context(), o)
	if !errors.Is(err, ErrDisagree) || !strings.Contains(err.Error(), "did not settle") {
		t.Errorf("error %v", err)
	}
}

// Requests of clients that disconnect are in the books under their own path, and do not change the four figures.
func TestRunCountsAbandoned(t *testing.T) {
	f := startFake(t)
	var out bytes.Buffer
	o := f.options(&out)
	o.Abandon, o.Requests, o.Output = true, 1000, "json"
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	var s summary
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if s.Abandoned == 0 || s.Unfinished != s.Abandoned || s.Sent != 1000-s.Abandoned || s.Archived != s.Sent {
		t.Errorf("summary %+v", s)
	}
	if s.AbandonedInBooks != s.Abandoned || !s.Agree || len(s.HotPaths) != topPaths {
		t.Errorf("summary %+v", s)
	}
}

// Without a limit the demo runs until it is interrupted, and still prints its summary.
func TestRunUntilInterrupted(t *testing.T) {
	f := startFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handler := f.proxy.Config.Handler
	f.proxy.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.responses >= 20 {
			cancel()
		}
	})
	var out bytes.Buffer
	o := f.options(&out)
	o.Requests, o.Temporary = 0, true
	if err := Run(ctx, o); err != nil || !strings.Contains(out.String(), "agree") || strings.Contains(out.String(), "leave out --requests") ||
		!strings.HasSuffix(out.String(), "To keep the data, choose a directory with --data DIR.\n") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestRunReportsBrokenParts(t *testing.T) {
	f := startFake(t)
	var out bytes.Buffer
	broken := errors.New("broken")
	for name, change := range map[string]func(o *Options){
		"archive":     func(o *Options) { o.Archive = func(context.Context) error { return broken } },
		"count":       func(o *Options) { o.CountArchive = func(context.Context) (int, error) { return 0, broken } },
		"no callback": func(o *Options) { o.Archive = nil },
		"proxy URL":   func(o *Options) { o.ProxyURL = "127.0.0.1:80" },
		"output":      func(o *Options) { o.Output = "xml" },
		"admin":       func(o *Options) { o.AdminURL, o.SettleTimeout = f.proxy.URL, 10*time.Millisecond },
	} {
		o := f.options(&out)
		o.Requests = 1
		change(&o)
		if err := Run(t.Context(), o); err == nil || errors.Is(err, ErrDisagree) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTrafficIsDeterministic(t *testing.T) {
	a, b, other := newTraffic(3, true), newTraffic(3, true), newTraffic(4, true)
	same := 0
	counts := map[*route]int{}
	for n := range uint64(20_000) {
		ra, ga := a.pick(n)
		rb, gb := b.pick(n)
		if ra != rb || ga != gb {
			t.Fatalf("nonce %d differs", n)
		}
		if ro, _ := other.pick(n); ro == ra {
			same++
		}
		counts[ra]++
	}
	if same > 15_000 {
		t.Errorf("another seed gives the same route %d times", same)
	}
	for i := range routes {
		want := 20_000 * routes[i].weight / a.weights
		if got := counts[&routes[i]]; got < want/2 || got > want*2 {
			t.Errorf("route %d was taken %d times, want about %d", i, got, want)
		}
	}
}

func TestSumOfRows(t *testing.T) {
	p := pathRows{Rows: 2, Paths: []row{{Count: 3}, {Count: 4}}}
	p.Totals.Count = 9
	if p.sum() != 7 {
		t.Errorf("the sum over all rows is %d", p.sum())
	}
	if p.Rows = 3; p.sum() != 9 {
		t.Errorf("the sum of a cut list is %d", p.sum())
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

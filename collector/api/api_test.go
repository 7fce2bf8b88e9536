package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/dashboard"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

var testNow = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

var testHour = stats.HourOf(testNow)

// memRows are statistics in memory. reads counts the hours that were read.
type memRows struct {
	rows  map[stats.Key]*stats.Row
	reads atomic.Int64 // atomic, because the halves of a range are read in parallel
	fail  error
}

func (m *memRows) add(hour int64, host, method, label string, status uint16, micros uint64) {
	if m.rows == nil {
		m.rows = map[stats.Key]*stats.Row{}
	}
	k := stats.Key{Hour: hour, Host: host, Method: method, Label: label}
	if m.rows[k] == nil {
		m.rows[k] = new(stats.Row)
	}
	m.rows[k].Add(&event.Event{Kind: event.KindRequest, Status: status, DurationMicros: micros, RequestBytes: 1, ResponseBytes: 2})
}

func (m *memRows) Rows(_ context.Context, from, to int64, fn func(stats.Key, *stats.Row) error) error {
	m.reads.Add(to - from)
	if m.fail != nil {
		return m.fail
	}
	keys := make([]stats.Key, 0, len(m.rows))
	for k := range m.rows {
		if k.Hour >= from && k.Hour < to {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b stats.Key) int { return int(a.Hour - b.Hour) })
	for _, k := range keys {
		if err := fn(k, m.rows[k]); err != nil {
			return err
		}
	}
	return nil
}

type memPlans []*catalogue.Plan

func (m memPlans) Plans(_ context.Context, fn func(*catalogue.Plan) error) error {
	for _, p := range m {
		if err := fn(p); err != nil {
			return err
		}
	}
	return nil
}

func testHandler(rows snapshot.RowSource) http.Handler {
	return NewHandler(Options{
		Rows: rows, Plans: memPlans{
			{ID: 1, State: catalogue.Deleted, Key: "a", Hour: 2, Observed: 3 * time.Second, Rows: 5, ObjectBytes: 10, Blocks: []catalogue.BlockID{{Hour: 1}}},
			{ID: 2, State: catalogue.Verified, Key: "b", Rows: 6},
			{ID: 3, State: catalogue.Planned, Key: "c", Rows: 7},
		},
		Storage: func(context.Context) (collector.Storage, error) {
			return collector.Storage{}, fmt.Errorf("%w: away", ErrUnavailable)
		},
		Now: func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler),
	})
}

func get(t testing.TB, h http.Handler, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func decode[T any](t testing.TB, resp *http.Response) (v T) {
	t.Helper()
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func sampleRows() *memRows {
	m := &memRows{}
	for i := range 10 {
		m.add(testHour, "a", "GET", "/users/{id}", 200, uint64(1000*(i+1)))
	}
	for range 5 {
		m.add(testHour-3, "a", "POST", "/users", 500, 50_000)
	}
	m.add(testHour-30, "b", "GET", "/old", 200, 10)
	m.add(testHour-1, "b", "GET", "/users/{id}", 404, 10)
	return m
}

func TestPathsQuery(t *testing.T) {
	h := testHandler(sampleRows())
	tests := map[string][]string{
		"":                               {"GET a /users/{id} 10", "POST a /users 5", "GET b /users/{id} 1"},
		"from=-48h":                      {"GET a /users/{id} 10", "POST a /users 5", "GET b /old 1", "GET b /users/{id} 1"},
		"from=-48h&to=-24h":              {"GET b /old 1"},
		"from=-2d&to=-1d":                {"GET b /old 1"},
		"sort=errors":                    {"POST a /users 5", "GET a /users/{id} 10", "GET b /users/{id} 1"},
		"sort=p99&limit=1":               {"POST a /users 5"},
		"method=post":                    {"POST a /users 5"},
		"host=B":                         {"GET b /users/{id} 1"},
		"prefix=/users/":                 {"GET a /users/{id} 10", "GET b /users/{id} 1"},
		"from=2026-11-23T09:00:00Z":      {"GET a /users/{id} 10"},
		"from=2026-11-23T10:00:00+01:00": {"GET a /users/{id} 10"},
	}
	tests[fmt.Sprintf("from=%d&to=%d", (testHour-3)*3600, (testHour-2)*3600)] = []string{"POST a /users 5"}
	for query, want := range tests {
		resp := get(t, h, "/api/v1/paths?"+query)
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(resp.Body)
			t.Errorf("%s: status %d: %s", query, resp.StatusCode, body)
			continue
		}
		answer := decode[pathsAnswer](t, resp)
		var got []string
		for _, r := range answer.Paths {
			got = append(got, fmt.Sprintf("%s %s %s %d", r.Method, r.Host, r.Path, r.Count))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	answer := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?limit=1"))
	if answer.Totals.Count != 16 || answer.Totals.Errors != 5 || answer.Rows != 3 || answer.Totals.Latency.Max != 50_000 {
		t.Errorf("totals %+v over %d rows", answer.Totals, answer.Rows)
	}
}

func TestTimesAsPeopleGiveThem(t *testing.T) {
	h := testHandler(sampleRows())
	want := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?from=2026-11-23T08:30:00Z&to=2026-11-23T09:30:00Z"))
	if want.Totals.Count == 0 {
		t.Fatal("no rows to compare")
	}
	for _, span := range []string{"from=now-1h", "from=-1h", "from=now-60m&to=now", "from=1795422600&to=1795426200", "from=2026-11-23T08&to=2026-11-23T10"} {
		got := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?"+span))
		if !got.From.Equal(want.From) || !got.To.Equal(want.To) || got.Totals.Count != want.Totals.Count {
			t.Errorf("%s: %d responses from %v to %v, want %d from %v to %v", span, got.Totals.Count, got.From, got.To, want.Totals.Count, want.From, want.To)
		}
	}
	resp := get(t, h, "/api/v1/paths?from=yesterday")
	if body := decode[errorBody](t, resp); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body.Error, "now-24h") || !strings.Contains(body.Error, "from") {
		t.Errorf("status %d, error %q", resp.StatusCode, body.Error)
	}
}

func TestBadParametersAreExplained(t *testing.T) {
	h := testHandler(sampleRows())
	for _, target := range []string{
		"/api/v1/paths?from=yesterday", "/api/v1/paths?from=-1h&to=-2h", "/api/v1/paths?sort=name", "/api/v1/paths?limit=0",
		"/api/v1/paths?limit=x", "/api/v1/paths?limit=10001", "/api/v1/paths?order=up", "/api/v1/paths?limit=1&limit=2",
		"/api/v1/paths?prefix=users", "/api/v1/paths?from=99999999999999", "/api/v1/paths?%zz", "/api/v1/paths?from=--1h",
		"/api/v1/series?status=200", "/api/v1/series?path=/a&step=90m", "/api/v1/series?path=/a&step=0h", "/api/v1/series?path=/a&from=-10000d",
		"/api/v1/archives?state=lost", "/snapshot/abc",
	} {
		resp := get(t, h, target)
		body := decode[errorBody](t, resp)
		if resp.StatusCode != http.StatusBadRequest || body.Error == "" {
			t.Errorf("%s: status %d, error %q", target, resp.StatusCode, body.Error)
		}
	}
}

func TestOtherAnswers(t *testing.T) {
	h := testHandler(&memRows{fail: io.ErrUnexpectedEOF})
	for target, want := range map[string]int{
		"/api/v1/paths": http.StatusInternalServerError, "/api/v1/storage": http.StatusServiceUnavailable,
		"/api/v1/nothing": http.StatusNotFound, "/snapshot": http.StatusServiceUnavailable, "/snapshot/1": http.StatusNotFound,
		"/snapshots": http.StatusOK, "/elsewhere": http.StatusNotFound,
	} {
		if resp := get(t, h, target); resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", target, resp.StatusCode, want)
		}
	}
}

func TestSeries(t *testing.T) {
	h := testHandler(sampleRows())
	answer := decode[seriesAnswer](t, get(t, h, "/api/v1/series?from=-3h&step=2h&path="+url.QueryEscape("/users/{id}")))
	var got []string
	for _, p := range answer.Points {
		got = append(got, fmt.Sprintf("%s %d", p.Time.Format("15:04"), p.Count))
	}
	if diff := cmp.Diff([]string{"06:00 0", "08:00 11"}, got); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	if answer.Totals.Count != 11 || answer.Step != "2h" {
		t.Errorf("totals %+v, step %s", answer.Totals, answer.Step)
	}
}

func TestArchives(t *testing.T) {
	h := testHandler(nil)
	body, _ := io.ReadAll(get(t, h, "/api/v1/archives").Body)
	for text, want := range map[string]bool{
		`"hour":"1970-01-01T02:00:00Z"`: true, `"observed_us":3000000`: true, "observed_ns": false, "blocks": false, `"hour":2`: false,
	} {
		if strings.Contains(string(body), text) != want {
			t.Errorf("%s is in the answer: %v, want %v\n%s", text, !want, want, body)
		}
	}
	answer := decode[archivesAnswer](t, get(t, h, "/api/v1/archives?limit=2"))
	if answer.Objects != 3 || answer.Rows != 18 || len(answer.Archives) != 2 || answer.Archives[0].ID != 3 || answer.Archives[1].ID != 2 {
		t.Errorf("%+v", answer)
	}
	answer = decode[archivesAnswer](t, get(t, h, "/api/v1/archives?state=deleted"))
	if len(answer.Archives) != 1 || answer.Archives[0].ID != 1 || answer.Archives[0].Blocks != nil {
		t.Errorf("%+v", answer)
	}
}

func TestDashboardIsLockedDown(t *testing.T) {
	h := testHandler(nil)
	page := get(t, h, "/")
	body, _ := io.ReadAll(page.Body)
	for _, file := range []string{"/assets/app.js", "/assets/style.css", "/assets/icon.svg"} {
		if !strings.Contains(string(body), file) {
			t.Errorf("the page does not use %s", file)
		}
		if resp := get(t, h, file); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", file, resp.StatusCode)
		}
	}
	csp := page.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	for _, name := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
		if page.Header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	script := dashboard.Script()
	for _, forbidden := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
		if strings.Contains(string(script), forbidden) {
			t.Errorf("the script uses %s", forbidden)
		}
	}
	for _, forbidden := range []string{"style=", "onclick", "<script>"} {
		if strings.Contains(string(body), forbidden) {
			t.Errorf("the page contains %s, which the policy blocks", forbidden)
		}
	}
}

// TestOtherMethods sends to every endpoint of the index a method that the endpoint does not support.
func TestOtherMethods(t *testing.T) {
	h := NewHandler(Options{})
	for _, e := range append(endpoints(), indexEntry{Method: http.MethodGet, Path: "/api/v1/"}) {
		method, allow := http.MethodPost, "GET, HEAD"
		switch {
		case e.Path == "/api/v1/marks":
			method, allow = http.MethodDelete, "GET, HEAD, POST"
		case e.Method == http.MethodPost:
			method, allow = http.MethodDelete, "POST"
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest(method, strings.NewReplacer("{", "", "}", "").Replace(e.Path), http.NoBody))
		if answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Allow") != allow || !strings.Contains(answer.Body.String(), "only "+allow) {
			t.Errorf("%s %s: %d, Allow: %q, %s", method, e.Path, answer.Code, answer.Header().Get("Allow"), answer.Body)
		}
	}
}

package sampleapp

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves the app with a Sleep that only records the durations.
func start(t *testing.T, seed uint64) (url string, slept func() []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var sleeps []time.Duration
	url, stop, err := Start(Options{Seed: seed, Sleep: func(_ context.Context, d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		sleeps = append(sleeps, d)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return url, func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return sleeps
	}
}

func do(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestRoutes(t *testing.T) {
	url, _ := start(t, 1)
	for _, c := range []struct {
		method, path string
		status       int
		bytes        int // length of the body; -1 accepts any
	}{
		{"GET", "/", 200, 2 << 10},
		{"HEAD", "/", 200, 0},
		{"GET", "/assets/app.js", 200, 24 << 10},
		{"GET", "/users/1", 200, -1},
		{"GET", "/users/5001", 404, -1},
		{"GET", "/users/me", 404, -1},
		{"PUT", "/users/7", 200, len(`{"id":7,"bytes":4}`)},
		{"GET", "/users/7/orders/8c0d2c3e-0a4b-4d57-9a7e-0f1f6e8b2c11", 200, -1},
		{"DELETE", "/users/7/orders/8c0d2c3e-0a4b-4d57-9a7e-0f1f6e8b2c11", 204, 0},
		{"POST", "/orders", 201, -1},
		{"GET", "/orders", 405, -1},
		{"GET", "/flaky", 503, -1},
		{"GET", "/reports/3", 200, -1},
		{"GET", "/live/1", 200, -1},
		{"GET", "/export", 200, ExportBytes},
		{"GET", "/events", 200, -1},
		{"GET", "/downloads/catalogue.pdf", 200, DownloadBytes},
		{"GET", "/wp-login.php", 404, -1},
	} {
		response, body := do(t, c.method, url+c.path, "body")
		if response.StatusCode != c.status || c.bytes >= 0 && len(body) != c.bytes {
			t.Errorf("%s %s: status %d, %d bytes; want %d, %d", c.method, c.path, response.StatusCode, len(body), c.status, c.bytes)
		}
		again, same := do(t, c.method, url+c.path, "body")
		if again.StatusCode != c.status || same != body {
			t.Errorf("%s %s: the second answer differs", c.method, c.path)
		}
	}
}

func TestConditionalRequest(t *testing.T) {
	url, _ := start(t, 1)
	first, _ := do(t, "GET", url+"/assets/app.js", "")
	second, body := do(t, "GET", url+"/assets/app.js", "", "If-None-Match", first.Header.Get("ETag"))
	if second.StatusCode != 304 || body != "" {
		t.Errorf("status %d, %d bytes", second.StatusCode, len(body))
	}
}

func TestStreamsAreChunked(t *testing.T) {
	url, _ := start(t, 1)
	for _, path := range []string{"/export", "/events"} {
		response, body := do(t, "GET", url+path, "")
		if len(response.TransferEncoding) != 1 || response.TransferEncoding[0] != "chunked" {
			t.Errorf("%s: transfer encoding %v", path, response.TransferEncoding)
		}
		if path == "/events" && strings.Count(body, "data: ") != EventCount {
			t.Errorf("events: %q", body)
		}
	}
}

func TestReportsTakeTheirTime(t *testing.T) {
	url, slept := start(t, 1)
	for id := range 50 {
		do(t, "GET", url+"/reports/"+strconv.Itoa(id), "")
	}
	distinct := map[time.Duration]bool{}
	for _, d := range slept() {
		distinct[d] = true
		if d < 20*time.Millisecond || d > 120*time.Millisecond {
			t.Errorf("a report took %v", d)
		}
	}
	if len(slept()) != 50 || len(distinct) < 20 {
		t.Errorf("%d reports, %d distinct times", len(slept()), len(distinct))
	}
}

func TestPaymentsFailAlike(t *testing.T) {
	var failures [2]int
	for i := range failures {
		url, _ := start(t, 42)
		for range 400 {
			if response, _ := do(t, "POST", url+"/payments", "card"); response.StatusCode == 500 {
				failures[i]++
			}
		}
	}
	if failures[0] != failures[1] || failures[0] < 8 || failures[0] > 40 {
		t.Errorf("%v of 400 payments failed; want the same, about 20", failures)
	}
}

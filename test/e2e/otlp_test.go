package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/process/doctor"
	"github.com/wayside-proxy/wayside/test/otlptest"
	"github.com/wayside-proxy/wayside/uploader"
)

// TestOTLP: a receiver gets all metrics of both processes, and a span for each sampled request, even though it refuses requests for a while. In
// the end, everything it has agrees with the archive.
func TestOTLP(t *testing.T) {
	t.Parallel()
	var refused atomic.Int32
	r := otlptest.NewUnstarted()
	r.Before = func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/v1/traces" || refused.Add(1) > 2 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	r.Start()
	t.Cleanup(r.Close)
	w, log := newWayside(t, otlpOrigin(t))
	w.Env = append(w.Env, "WAYSIDE_OTLP_ENDPOINT="+r.URL, "WAYSIDE_OTLP_INTERVAL=1s", "WAYSIDE_OTLP_SPANS=100%", "WAYSIDE_RECORD_TRACE_ID=true",
		"WAYSIDE_SERVICE=shop", "WAYSIDE_INSTANCE=i-1")
	start(t, w)
	const each = 40
	for i := range each {
		for n, traced := range []struct{ path, traceparent string }{
			{SampledPrefix + "ok", "-01"}, {SampledPrefix + "failing", "-01"}, {"/unsampled/ok", "-00"}, {"/malformed/ok", "-1"}, {"/untraced/ok", ""},
		} {
			field := ""
			if traced.traceparent != "" {
				field = fmt.Sprintf("traceparent: 00-%030x%02x-%016x%s\r\n", i+1, n, i+1, traced.traceparent)
			}
			sendRaw(t, w.Listen, "", "GET "+traced.path+" HTTP/1.1\r\nHost: shop\r\n"+field+"Connection: close\r\n\r\n")
		}
	}
	// The receiver has the spans a moment before wayside has counted them.
	metrics := awaitMetrics(t, w, fmt.Sprintf("\nwayside_otlp_spans_total{result=\"sent\"} %d\n", 2*each),
		"\nwayside_otlp_exports_total{result=\"failed\",signal=\"traces\"} 2\n", "\nwayside_otlp_spans_total{result=\"dropped\"} 0\n",
		"\nwayside_otlp_exports_total{result=\"ok\",signal=\"metrics\"} ")
	if err := w.Stop(40 * time.Second); err != nil {
		t.Fatal(err)
	}
	got, errs := r.Received()
	if len(errs) > 0 || got.Resource["service.name"] != "shop" || got.Resource["service.instance.id"] != "i-1" {
		t.Error(errs, got.Resource)
	}
	checkNames(t, &got, metrics)
	lines := archivedLines(t, w.DataDir)
	if len(lines) != 5*each {
		t.Fatalf("%d archived lines", len(lines))
	}
	if err := CheckSpans(&got, lines, true); err != nil {
		t.Error(err)
	}
	if err := CheckMetrics(&got, lines); err != nil {
		t.Error(err)
	}
	if n := log.Count("cannot send to the OTLP collector"); n != 1 {
		t.Errorf("%d lines about the refusals", n)
	}
}

// awaitMetrics waits until the metrics contain all of the given texts, and returns them.
func awaitMetrics(t *testing.T, w *Wayside, texts ...string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { //nolint:forbidigo // waits for a condition
		metrics, err := w.Ask(t.Context(), http.MethodGet, "/metrics")
		if err == nil && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(metrics), text) }) {
			return string(metrics)
		}
		if time.Now().After(end) {
			t.Fatalf("the metrics never contain all of %q: %v\n%s", texts, err, metrics)
		}
	}
}

// checkNames compares the names of the exported metrics with those in /metrics.
func checkNames(t *testing.T, got *otlptest.Export, metrics string) {
	t.Helper()
	names := 0
	for line := range strings.Lines(metrics) {
		if name, found := strings.CutPrefix(line, "# TYPE "); found {
			name, _, _ = strings.Cut(name, " ")
			if names++; got.Metrics[name] == nil {
				t.Errorf("%s is in /metrics, but was not exported", name)
			}
		}
	}
	if names < 50 {
		t.Errorf("only %d metrics", names)
	}
}

// otlpOrigin starts a service in which the paths that end with /failing fail.
func otlpOrigin(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/failing") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, OriginBody)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// archivedLines reads the archive in a data directory.
func archivedLines(t *testing.T, dataDir string) (lines []Line) {
	t.Helper()
	target, err := uploader.OpenTarget(t.Context(), "file://"+dataDir+"/archive", uploader.TargetOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadBooksEach(context.Background(), target, func(l Line) { lines = append(lines, l) }); err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestOTLPAway: without a collector, traffic and the books work as usual, and wayside says what is wrong.
func TestOTLPAway(t *testing.T) {
	t.Parallel()
	w, log := newWayside(t, otlpOrigin(t))
	w.Env = append(w.Env, "WAYSIDE_OTLP_ENDPOINT=http://127.0.0.1:1", "WAYSIDE_OTLP_INTERVAL=1s", "WAYSIDE_OTLP_SPANS=100%")
	start(t, w)
	for i := range 20 {
		sendRaw(t, w.Listen, "", fmt.Sprintf("GET /sampled/ok HTTP/1.1\r\nHost: shop\r\ntraceparent: 00-%032x-%016x-01\r\nConnection: close\r\n\r\n", i+1, i+1))
	}
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitMetrics(t, w, `wayside_otlp_exports_total{result="failed",signal="metrics"}`, `wayside_otlp_exports_total{result="failed",signal="traces"}`)
	p := &patient{flags: map[string]string{"upstream": otlpOrigin(t), "data": w.DataDir + "-other"}, env: w.Env}
	findings, _ := p.examine(t)
	found := false
	for _, f := range findings {
		found = found || f.Check == "otlp" && f.State == doctor.Warning && strings.Contains(f.Found, "connection refused")
	}
	if !found {
		t.Errorf("the doctor says nothing about the collector: %v", findings)
	}
	if err := w.Stop(40 * time.Second); err != nil {
		t.Fatal(err)
	}
	if n := log.Count("cannot send to the OTLP collector"); n != 2 {
		t.Errorf("%d lines, want one for each signal", n)
	}
	if lines := archivedLines(t, w.DataDir); len(lines) != 20 {
		t.Errorf("%d archived lines", len(lines))
	}
}

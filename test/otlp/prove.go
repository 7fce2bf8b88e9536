package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/uploader"
)

// outage is the time that the collector is down. It is shorter than the time after which wayside drops spans.
const outage = 10 * time.Second

// wayside returns a wayside with its own data directory and with environment variables for the export.
func (r *rig) wayside(name string, env ...string) (*e2e.Wayside, error) {
	listen, err := loopback.FreeAddress()
	return &e2e.Wayside{
		Binary: r.binary, DataDir: filepath.Join(r.dir, name), Listen: listen, Log: io.Discard,
		Args: []string{"--upstream", r.origin}, Env: env,
	}, err
}

// prove sends requests while the collector restarts, and compares the collector's files with the archive.
func (r *rig) prove(ctx context.Context, requests uint64) (err error) {
	c, err := newCollector(r.dir)
	if err != nil {
		return err
	}
	if err := c.start(); err != nil {
		return err
	}
	defer func() { _ = c.stop() }()
	w, err := r.wayside("data", "WAYSIDE_OTLP_ENDPOINT=http://"+c.address, "WAYSIDE_OTLP_INTERVAL=1s", "WAYSIDE_OTLP_SPANS=100%",
		"WAYSIDE_RECORD_TRACE_ID=true")
	if err != nil {
		return err
	}
	w.Log = os.Stderr
	if err := w.Start(ctx); err != nil {
		return err
	}
	defer w.Kill()
	// At this rate, the queue has room for the spans of the outage and of the longest pause after it.
	o := traced(w.Listen)
	o.Requests, o.Rate = requests, 800
	restarted := make(chan error, 1)
	go func() {
		half := time.Duration(float64(requests) / o.Rate / 2 * float64(time.Second))
		time.Sleep(half)
		err := c.stop()
		time.Sleep(outage)
		restarted <- errors.Join(err, c.start())
	}()
	report, err := load.Run(ctx, o)
	if err = errors.Join(err, <-restarted); err != nil {
		return err
	}
	if report.Completed != requests {
		return fmt.Errorf("%d of %d requests completed: %v", report.Completed, requests, report.Errors)
	}
	if err := r.awaitSpans(ctx, w, float64(requests/2)); err != nil {
		return err
	}
	if err := errors.Join(w.Stop(time.Minute), c.stop()); err != nil {
		return err
	}
	return r.compare(ctx, w, c, requests)
}

// awaitSpans waits until all sampled requests have been sent or counted as lost, and reports the counts.
func (r *rig) awaitSpans(ctx context.Context, w *e2e.Wayside, want float64) error {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		spans, err := spanCounts(ctx, w)
		if err != nil {
			return err
		}
		if spans["sent"]+spans["dropped"]+spans["failed"]+spans["rejected"] == want {
			fmt.Printf("spans: %v\n", spans)
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%v sampled requests, but the spans are %v", want, spans)
		}
	}
}

// spanCounts returns wayside_otlp_spans_total by result.
func spanCounts(ctx context.Context, w *e2e.Wayside) (map[string]float64, error) {
	text, err := w.Ask(ctx, http.MethodGet, "/metrics")
	spans := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, `wayside_otlp_spans_total{result="`); found {
			result, value, _ := strings.Cut(strings.TrimSpace(rest), `"} `)
			spans[result], _ = strconv.ParseFloat(value, 64)
		}
	}
	return spans, err
}

func (r *rig) compare(ctx context.Context, w *e2e.Wayside, c *collector, requests uint64) error {
	export, err := c.read()
	if err != nil {
		return err
	}
	target, err := uploader.OpenTarget(ctx, "file://"+w.DataDir+"/archive", uploader.TargetOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var lines []e2e.Line
	if _, err := e2e.ReadBooksEach(ctx, target, func(l e2e.Line) { lines = append(lines, l) }); err != nil {
		return err
	}
	if uint64(len(lines)) != requests {
		return fmt.Errorf("the archive has %d events, %d requests were sent", len(lines), requests)
	}
	if err := errors.Join(e2e.CheckSpans(&export, lines, true), e2e.CheckMetrics(&export, lines)); err != nil {
		return err
	}
	fmt.Printf("%d events in the archive; the collector has %d spans in %d requests and %d metrics in %d requests; all agree\n",
		len(lines), len(export.Spans), export.Requests["traces"], len(export.Metrics), export.Requests["metrics"])
	return nil
}

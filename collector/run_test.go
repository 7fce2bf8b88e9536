package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/collector/store"
)

func (r *rig) document(t testing.TB) (snapshot.Document, int) {
	t.Helper()
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	bodies := r.source.published[snapshot.Topic]
	if len(bodies) == 0 {
		t.Fatal("no snapshot was published")
	}
	s, err := snapshot.Decode(bodies[len(bodies)-1])
	if err != nil {
		t.Fatal(err)
	}
	var doc snapshot.Document
	if err := json.Unmarshal(s.JSON, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, len(bodies)
}

func TestSnapshotsArePublishedWhenSomethingChanged(t *testing.T) {
	r := newRig(t, nil)
	r.upkeep(t.Context(), true)
	if doc, n := r.document(t); n != 1 || doc.Totals.Count != 0 || len(doc.Paths) != 1 {
		t.Fatalf("at the start: %d snapshots, %+v", n, doc)
	}
	r.now = r.now.Add(2 * time.Second)
	r.upkeep(t.Context(), false)
	if _, n := r.document(t); n != 1 {
		t.Error("published again although nothing had changed")
	}
	r.source.add(r.epoch, r.request("/a", 200), r.request("/a", 200))
	r.drain(t)
	r.upkeep(t.Context(), false)
	doc, n := r.document(t)
	if n != 2 || doc.Totals.Count != 2 || doc.Through[r.epoch.String()] != 2 || doc.Window != "24h" {
		t.Errorf("%d snapshots, %+v", n, doc)
	}
	r.source.add(r.epoch, r.request("/a", 200))
	r.drain(t)
	r.upkeep(t.Context(), false)
	if _, n := r.document(t); n != 2 {
		t.Error("published before the interval was over")
	}
	for range r.o.SnapshotEveryBatches {
		r.source.add(r.epoch, r.request("/a", 200))
		r.drain(t)
	}
	r.upkeep(t.Context(), false)
	if doc, n := r.document(t); n != 3 || doc.Totals.Count != 13 {
		t.Errorf("after ten batches: %d snapshots, count %d", n, doc.Totals.Count)
	}
}

func TestSnapshotIsOfferedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.source.onPublish = func() error { return errInjected }
	r.upkeep(t.Context(), true)
	r.source.onPublish = nil
	r.upkeep(t.Context(), false)
	if _, n := r.document(t); n != 1 {
		t.Errorf("%d snapshots", n)
	}
}

// Run retries while the store and the source are unavailable, reports this in the meantime, and ends with its context.
func TestRunRetries(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Now = time.Now; o.SnapshotInterval = time.Millisecond })
	r.source.add(r.epoch, r.request("/a", 200))
	failures, seen := 0, ""
	r.store.beforeApply = func(*store.Batch) error {
		if failures++; failures == 1 {
			return unavailable()
		}
		seen = r.Status().State
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.source.onPublish = func() error {
		if r.Status().Applied > 0 {
			cancel()
		}
		return nil
	}
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(seen, "unavailable: ") || !strings.Contains(seen, "injected") {
		t.Errorf("state while retrying: %q", seen)
	}
	r.checkBooks(t, 1)
}

func TestRunEndsWhenTheStoreMustBeOpenedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.source.add(r.epoch, r.request("/a", 200))
	r.store.beforeApply = func(*store.Batch) error { return fmt.Errorf("apply: %w", store.ErrFailed) }
	if err := r.Run(t.Context()); !errors.Is(err, store.ErrFailed) {
		t.Errorf("got %v", err)
	}
}

func TestMetrics(t *testing.T) {
	r := newRig(t, nil)
	r.o.DataDir = r.dir
	r.source.add(r.epoch, r.request("/a", 200), r.malformed())
	r.drain(t)
	families, err := r.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		named := strings.HasPrefix(f.GetName(), "wayside_") || f.GetName() == "http_server_request_duration_seconds"
		if !named || f.GetHelp() == "" {
			t.Errorf("metric %s", f.GetName())
		}
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	for name, want := range map[string]float64{
		"wayside_collector_applied_total": 1, "wayside_collector_batches_total": 1, "wayside_collector_quarantined_total": 1,
		"wayside_collector_failures_total": attemptsMax, "wayside_collector_paused": 0, "wayside_paths_rows": 1,
		"http_server_request_duration_seconds": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

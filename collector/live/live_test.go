package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// world is a feed with its own clock, and a model that counts the same events.
type world struct {
	*Feed
	now   time.Time
	seq   uint64
	added uint64
}

func newWorld(routes int) *world {
	w := &world{now: time.Unix(1_800_000_000, 0)}
	w.Feed = New(Options{RoutesMax: routes, Now: func() time.Time { return w.now }})
	return w
}

func (w *world) add(method, label string, status uint16, latency time.Duration) {
	w.seq++
	w.added++
	b := w.Begin(uuid.Nil)
	b.Add(catalogue.RowName{Host: "shop", Method: method, Label: label}, w.seq, &event.Event{
		Kind: event.KindRequest, Status: status, DurationMicros: uint64(latency.Microseconds()),
		TimeMicros: w.now.UnixMicro(), Method: []byte(method), Path: []byte(label), Host: []byte("shop"),
	})
	b.Close()
}

// counts gathers the histograms: "route method status" → observations, and their sum.
func (w *world) counts(t *testing.T) (map[string]uint64, uint64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.Feed)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out, total := map[string]uint64{}, uint64(0)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			out[label(m, "http_route")+" "+label(m, "http_request_method")+" "+label(m, "http_response_status_code")] += m.GetHistogram().GetSampleCount()
			total += m.GetHistogram().GetSampleCount()
		}
	}
	return out, total
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// TestFastResponsesHaveBuckets: a service on the same machine responds in less than a millisecond, so there must be
// buckets below that.
func TestFastResponsesHaveBuckets(t *testing.T) {
	w := newWorld(10)
	for _, micros := range []int{80, 200, 400, 900, 2000, 4000} {
		w.add("GET", "/a", 200, time.Duration(micros)*time.Microsecond)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.Feed)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatal(families, err)
	}
	below := map[float64]uint64{}
	for _, b := range families[0].GetMetric()[0].GetHistogram().GetBucket() {
		below[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	for i, bound := range []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005} {
		if n, found := below[bound]; !found || n != uint64(i+1) {
			t.Errorf("%d responses within %g s, want %d: %v", n, bound, i+1, below)
		}
	}
}

func TestHistogramsByRouteMethodAndStatus(t *testing.T) {
	w := newWorld(10)
	w.add("GET", "/a", 200, 3*time.Millisecond)
	w.add("GET", "/a", 200, 30*time.Millisecond)
	w.add("GET", "/a", 500, time.Minute)
	w.add("(other)", "/a", 405, 0)
	got, total := w.counts(t)
	for key, want := range map[string]uint64{"/a GET 200": 2, "/a GET 500": 1, "/a _OTHER 405": 1} {
		if got[key] != want {
			t.Errorf("%s: %d, want %d (all: %v)", key, got[key], want, got)
		}
	}
	if total != w.added {
		t.Errorf("%d observations of %d events", total, w.added)
	}
}

func TestScannersTakeNoRoute(t *testing.T) {
	w := newWorld(3)
	for i := range 1000 {
		w.add("GET", fmt.Sprintf("/scan%d", i), 404, 0)
	}
	for i := range 5 {
		w.add("GET", fmt.Sprintf("/real%d", i), 200, 0)
	}
	got, total := w.counts(t)
	for i := range 3 {
		if got[fmt.Sprintf("/real%d GET 200", i)] != 1 {
			t.Errorf("real route %d has no histogram: %v", i, got)
		}
	}
	if len(w.routes) != 4 || total != w.added || got["(other) GET 404"] != 1000 || got["(other) GET 200"] != 2 {
		t.Errorf("%d routes, %d of %d counted: %v", len(w.routes), total, w.added, got)
	}
}

func TestAnIdleRouteGivesItsPlaceUp(t *testing.T) {
	w := newWorld(1)
	w.add("GET", "/old", 200, 0)
	w.now = w.now.Add(59 * time.Minute)
	w.add("GET", "/new", 200, 0)
	if got, _ := w.counts(t); got["/new GET 200"] != 0 || got["(other) GET 200"] != 1 {
		t.Errorf("a route in use was removed: %v", got)
	}
	w.now = w.now.Add(2 * time.Minute)
	w.add("GET", "/new", 200, 0)
	w.add("GET", "/old", 200, 0)
	if got, _ := w.counts(t); got["/new GET 200"] != 1 || got["(other) GET 200"] != 2 || got["/old GET 200"] != 0 {
		t.Errorf("the idle route was not replaced: %v", got)
	}
}

func TestStatusesOfARouteAreBounded(t *testing.T) {
	w := newWorld(10)
	for status := range uint16(900) {
		w.add("GET", "/a", 100+status, 0)
	}
	got, total := w.counts(t)
	if len(got) > seriesMax+1 || total != w.added || got["/a _OTHER _OTHER"] == 0 {
		t.Errorf("%d series, %d of %d counted", len(got), total, w.added)
	}
}

func TestRecentCountsBySteps(t *testing.T) {
	w := newWorld(10)
	for i := range 3 {
		for range i + 1 {
			w.add("GET", "/a", 200, 0)
		}
		w.add("GET", "/b", 503, 0)
		w.now = w.now.Add(StepSeconds * time.Second)
	}
	w.now = w.now.Add(2 * time.Second)
	r := w.Recent()
	if fmt.Sprint(r.Totals.Count) != "[2 3 4]" || !r.From.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("totals %v from %s", r.Totals.Count, r.From)
	}
	if r.Paths[0].Path != "/a" || fmt.Sprint(r.Paths[0].Count) != "[1 2 3]" || fmt.Sprint(r.Paths[1].Errors) != "[1 1 1]" {
		t.Errorf("paths %+v", r.Paths)
	}
	if !r.To.Equal(time.Unix(w.now.Unix()/StepSeconds*StepSeconds, 0)) {
		t.Errorf("ends at %s", r.To)
	}
	w.now = w.now.Add(29*time.Minute + 30*time.Second)
	w.add("GET", "/a", 200, 0)
	w.now = w.now.Add(StepSeconds*time.Second + 2*time.Second)
	if got := sum(w.Recent().Totals.Count); got != 8 {
		t.Errorf("after half an hour %d of the last half hour, want 8: the first step has left", got)
	}
	w.now = w.now.Add(time.Hour)
	if got := w.Recent().Totals.Count; len(got) != Steps || sum(got) != 0 || len(w.Recent().Paths) != 0 {
		t.Errorf("an hour later %v", got)
	}
}

// TestRecentBeginsWithTheProcess: a feed that begins in the middle of an epoch does not know what an earlier process counted,
// so its half hour begins when it began. It does not count what waited from before, of which it may have only a part.
func TestRecentBeginsWithTheProcess(t *testing.T) {
	w := newWorld(10)
	w.now = w.now.Add(4500 * time.Millisecond)
	w.Feed = New(Options{Now: func() time.Time { return w.now }})
	began := time.Unix(1_800_000_005, 0)
	w.seq = 1000
	if r := w.Recent(); !r.From.Equal(began) || !r.To.Equal(began) || r.Totals.Count == nil || len(r.Totals.Count) != 0 {
		t.Errorf("at the start %+v", r)
	}
	w.add("GET", "/a", 200, 0)
	w.now = began
	w.add("GET", "/a", 200, 0)
	w.now = w.now.Add(7 * time.Second)
	if r := w.Recent(); !r.From.Equal(began) || !r.To.Equal(began.Add(5*time.Second)) || fmt.Sprint(r.Totals.Count) != "[1]" || len(r.Paths) != 1 {
		t.Errorf("after the first step %+v", r)
	}
	w.now = w.now.Add(time.Hour)
	if r := w.Recent(); len(r.Totals.Count) != Steps || r.To.Sub(r.From) != Steps*StepSeconds*time.Second {
		t.Errorf("an hour later %s to %s", r.From, r.To)
	}
}

// TestRecentHasAWholeEpoch: nobody else has counted an epoch that begins with this feed, even the events that waited for the feed.
func TestRecentHasAWholeEpoch(t *testing.T) {
	w := newWorld(10)
	w.now = w.now.Add(time.Minute)
	w.Feed = New(Options{Now: func() time.Time { return w.now }})
	now := w.now
	w.now = w.now.Add(-20 * time.Second)
	w.add("GET", "/a", 200, 0)
	w.now = now.Add(2 * time.Second)
	if r := w.Recent(); fmt.Sprint(r.Totals.Count) != "[1 0]" || !r.From.Equal(now.Add(-20*time.Second)) {
		t.Errorf("%+v", r)
	}
}

// TestRateNow sends 20 requests a second for a while, and then none.
func TestRateNow(t *testing.T) {
	w := newWorld(10)
	for second := range 30 {
		w.now = w.now.Add(time.Second)
		if got := w.Recent().Totals.Rate; second >= 2 && got != 20 {
			t.Errorf("after %d seconds %g a second, want 20", second, got)
		}
		for range 20 {
			w.add("GET", "/a", 200, 0)
		}
	}
	if paths := w.Recent().Paths; len(paths) != 1 || paths[0].Rate != 20 {
		t.Errorf("%+v", paths)
	}
	w.now = w.now.Add((nowSeconds/2 + 2) * time.Second)
	if got := w.Recent().Totals.Rate; got != 10 {
		t.Errorf("%g a second when half of the ten seconds were silent, want 10", got)
	}
	w.now = w.now.Add(nowSeconds * time.Second)
	if got := w.Recent().Totals.Rate; got != 0 {
		t.Errorf("%g a second long after the last", got)
	}
}

func TestWatchersSeeWhatTheyAskFor(t *testing.T) {
	w := newWorld(10)
	failed := w.Watch(func(s *Seen) []byte {
		if s.Event.Status < 500 {
			return nil
		}
		return fmt.Appendf(nil, "%s %s %d", s.Row.Method, s.Row.Label, s.Event.Status)
	})
	all := w.Watch(label1)
	w.add("GET", "/users", 200, time.Millisecond)
	w.add("POST", "/orders", 503, time.Millisecond)
	if len(all.Lines()) != 2 || len(failed.Lines()) != 1 {
		t.Fatalf("%d and %d lines, want 2 and 1", len(all.Lines()), len(failed.Lines()))
	}
	if line := string(<-failed.Lines()); line != "POST /orders 503" {
		t.Error(line)
	}
}

func label1(s *Seen) []byte { return []byte(s.Row.Label) }

func TestASlowWatcherIsToldWhatItMissed(t *testing.T) {
	w := newWorld(10)
	watcher := w.Watch(label1)
	for range feedMax + 7 {
		w.add("GET", "/a", 200, 0)
	}
	if len(watcher.Lines()) != feedMax || watcher.TakeMissed() != 7 {
		t.Errorf("%d waiting, %d missed", len(watcher.Lines()), watcher.TakeMissed())
	}
	watcher.Close()
	w.add("GET", "/a", 200, 0)
	if n := watcher.TakeMissed(); n != 0 {
		t.Errorf("%d after it was closed", n)
	}
}

// TestWatchersAreBounded adds as many watchers as are allowed, none of which reads anything. Another one displaces the
// oldest, and the lines that were waiting for the oldest are dropped.
func TestWatchersAreBounded(t *testing.T) {
	w := newWorld(10)
	var all []*Watcher
	for range WatchersMax + 1 {
		all = append(all, w.Watch(label1))
		w.add("GET", "/a", 200, 0)
	}
	oldest, newest := all[0], all[WatchersMax]
	if n := len(w.watchers.list()); n != WatchersMax {
		t.Errorf("%d watchers, %d are allowed", n, WatchersMax)
	}
	select {
	case <-oldest.Gone():
	default:
		t.Error("the oldest was not displaced")
	}
	if len(oldest.Lines()) != 0 || len(all[1].Lines()) != WatchersMax || len(newest.Lines()) != 1 {
		t.Errorf("waiting: %d for the oldest, %d for the next, %d for the newest", len(oldest.Lines()), len(all[1].Lines()), len(newest.Lines()))
	}
	oldest.Close() // as its handler would do some time later
	if n := len(w.watchers.list()); n != WatchersMax {
		t.Errorf("%d watchers after the oldest has closed", n)
	}
}

// TestWaitingBytesAreBounded sends long lines to a watcher that reads nothing, and then to one that reads.
func TestWaitingBytesAreBounded(t *testing.T) {
	w := newWorld(10)
	const bytes = 8 << 10
	long := make([]byte, bytes)
	watcher := w.Watch(func(*Seen) []byte { return long })
	for range 100 {
		w.add("GET", "/a", 200, 0)
	}
	const fit = feedBytesMax / bytes
	if n := len(watcher.Lines()); n != fit || watcher.TakeMissed() != 100-fit {
		t.Errorf("%d lines wait, which are %d bytes", n, n*bytes)
	}
	for range 1000 {
		watcher.Took(<-watcher.Lines())
		w.add("GET", "/a", 200, 0)
	}
	if n := watcher.TakeMissed(); n != 0 {
		t.Errorf("%d missed by a watcher that reads", n)
	}
}

// BenchmarkAdd adds events of routes that all have their own histograms, and of ten times as many routes.
func BenchmarkAdd(b *testing.B) {
	for _, labels := range []int{100, 1000} {
		b.Run(fmt.Sprintf("labels=%d", labels), func(b *testing.B) { benchAdd(b, labels) })
	}
}

func benchAdd(b *testing.B, n int) {
	w := newWorld(100)
	e := event.Event{Kind: event.KindRequest, Status: 200, DurationMicros: 1234, TimeMicros: w.now.UnixMicro()}
	labels := make([]string, n)
	for i := range labels {
		labels[i] = fmt.Sprintf("/api/v1/things/{id}/part%d", i)
	}
	batch := w.Begin(uuid.Nil)
	defer batch.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		batch.Add(catalogue.RowName{Host: "shop", Method: "GET", Label: labels[i%n]}, 1, &e)
	}
}

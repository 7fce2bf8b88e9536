package api

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestLatencyBins queries random ranges and steps with bins, and compares the bins of each point with a recount of the events.
func TestLatencyBins(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	s, events := minuteStore(t, random)
	h := NewHandler(Options{Rows: s, Now: func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler)})
	for range 40 {
		n := []int{1, 2, 4, 8}[random.IntN(4)]
		to := testNow.Add(-time.Duration(random.Int64N(int64(60 * time.Hour))))
		path := fmt.Sprintf("/p%d", random.IntN(5))
		q := url.Values{
			"from": {to.Add(-time.Duration(1 + random.Int64N(int64(12*time.Hour)))).Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)},
			"step": {[]string{"1m", "5m", "1h", "6h"}[random.IntN(4)]}, "bins": {fmt.Sprint(n)}, "path": {path}, "compare": {"previous"},
		}
		target := "/api/v1/series?" + q.Encode()
		series := decode[seriesAnswer](t, get(t, h, target))
		for i := range series.Points {
			end := series.To
			if i+1 < len(series.Points) {
				end = series.Points[i+1].Time
			}
			compareBins(t, fmt.Sprintf("%s, point %d", target, i), series.Points[i].Bins, n, recountBins(events, path, series.Points[i].Time, end, n))
		}
		for i := range series.Before.Points {
			if series.Before.Points[i].Bins != nil {
				t.Errorf("%s: the range to compare with has bins", target)
			}
		}
	}
	for _, query := range []string{"bins=3", "bins=0", "bins=-1", "bins=16", "bins=x", "bins=4&step=1m&from=-17h"} {
		if resp := get(t, h, "/api/v1/series?"+query); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", query, resp.StatusCode)
		}
	}
	for _, p := range decode[seriesAnswer](t, get(t, h, "/api/v1/series?from=-1h")).Points {
		if p.Bins != nil {
			t.Error("there are bins that were not requested")
		}
	}
}

// recountBins counts the latencies of events by bin; zeros count under -1.
func recountBins(events []event.Event, path string, from, to time.Time, n int) map[int]uint64 {
	bins := map[int]uint64{}
	for i := range events {
		e := &events[i]
		if string(e.Path) != path || e.TimeMicros < from.UnixMicro() || e.TimeMicros >= to.UnixMicro() {
			continue
		}
		at := -1
		if e.DurationMicros > 0 {
			at = int(math.Floor(float64(n)*math.Log2(float64(e.DurationMicros)) + 1e-9))
		}
		bins[at]++
	}
	return bins
}

func compareBins(t *testing.T, what string, got *latencyBins, n int, want map[int]uint64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: no bins", what)
		return
	}
	if got.Zeros != want[-1] {
		t.Errorf("%s: %d latencies of 0, want %d", what, got.Zeros, want[-1])
	}
	found, all := got.Zeros, uint64(0)
	for i, count := range got.Counts {
		found += count
		if count != want[got.Start+i] {
			t.Errorf("%s: bin %d of %d per doubling has %d, want %d", what, got.Start+i, n, count, want[got.Start+i])
		}
	}
	for _, count := range want {
		all += count
	}
	if last := len(got.Counts) - 1; found != all || last >= 0 && (got.Counts[0] == 0 || got.Counts[last] == 0) {
		t.Errorf("%s: %d latencies in bins %v, want %d", what, found, got.Counts, all)
	}
}

// TestNamedRanges: the ranges that the dashboard and wayside top request for 1h, 24h and 7d have exactly this length.
func TestNamedRanges(t *testing.T) {
	s, _ := minuteStore(t, rand.New(rand.NewPCG(9, 10)))
	for _, after := range []time.Duration{time.Millisecond, 20 * time.Second, 31*time.Minute + time.Second, 29*time.Minute + 59*time.Second} {
		now := testNow.Add(after)
		h := NewHandler(Options{Rows: s, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
		for from, want := range map[string]time.Duration{"-59m": time.Hour, "-359m": 6 * time.Hour, "-1439m": 24 * time.Hour, "-167h": 168 * time.Hour, "-719h": 720 * time.Hour} {
			for _, path := range []string{"paths", "series"} {
				a := decode[pathsAnswer](t, get(t, h, "/api/v1/"+path+"?from="+from))
				if got := a.To.Sub(a.From); got != want || !a.To.After(now) {
					t.Errorf("%s?from=%s at %s: %s to %s, which is %s", path, from, now, a.From, a.To, got)
				}
			}
		}
		for from, want := range map[string]time.Duration{"-60m": time.Hour, "-1440m": 24 * time.Hour, "-168h": 168 * time.Hour} { // only time that is over is compared
			a := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?compare=previous&from="+from))
			if a.To.Sub(a.From) != want || a.Before.To.Sub(a.Before.From) != want || a.To.After(now) {
				t.Errorf("compared from %s at %s: %s to %s with %s to %s", from, now, a.From, a.To, a.Before.From, a.Before.To)
			}
		}
	}
}

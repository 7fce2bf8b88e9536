package api

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

// minuteStore returns a store with responses at random times in the four days before testNow. Some are only in rows.
func minuteStore(t *testing.T, random *rand.Rand) (*store.Store, []event.Event) {
	t.Helper()
	dir := t.TempDir()
	now := testNow.Add(-96 * time.Hour)
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var all []event.Event
	seq := uint64(0)
	for now.Before(testNow) {
		b := &store.Batch{Epoch: uuid.UUID{1}}
		for range 300 {
			now = now.Add(time.Duration(random.Int64N(int64(40 * time.Second))))
			if !now.Before(testNow) {
				break
			}
			seq++
			path := fmt.Sprintf("/p%d", random.IntN(5))
			e := event.Event{
				TimeMicros: now.UnixMicro(), Kind: event.KindRequest, Status: 200 + 100*uint16(random.IntN(4)), DurationMicros: random.Uint64N(1e6),
				Method: []byte("GET"), Host: []byte("h"), Path: []byte(path),
			}
			b.Items = append(b.Items, store.Item{Seq: seq, Host: "h", Method: "GET", Label: path, Event: e})
			all = append(all, e)
		}
		if b.LastSeq = seq; len(b.Items) > 0 {
			if err := s.Apply(b); err != nil {
				t.Fatal(err)
			}
		}
		if random.IntN(10) == 0 {
			if err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	now = testNow
	if _, err := s.Rollup(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	return s, all
}

// TestRangesOfMinutes queries random ranges and steps. It compares counts, errors, the largest latency, seconds and
// rates with a recount of the events, and the results with each other.
func TestRangesOfMinutes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	s, all := minuteStore(t, random)
	h := NewHandler(Options{Rows: s, Now: func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler)})
	began := s.Began()
	check := func(what string, f *snapshot.Figures, path string, from, to time.Time) {
		t.Helper()
		count, errs, most := uint64(0), uint64(0), uint64(0)
		for i := range all {
			if e := &all[i]; e.TimeMicros >= from.UnixMicro() && e.TimeMicros < to.UnixMicro() && (path == "" || string(e.Path) == path) {
				count++
				if e.IsError() {
					errs++
				}
				most = max(most, e.DurationMicros)
			}
		}
		covered := min(testNow.UnixMicro(), to.UnixMicro()) - max(began.UnixMicro(), from.UnixMicro())
		seconds := float64(max(covered, 0)) / 1e6
		if f.Count != count || f.Errors != errs || f.Latency.Max != most || f.Seconds != seconds || seconds > 0 && f.Rate != float64(count)/seconds {
			t.Errorf("%s: %d responses, %d errors, longest %d, %g/s over %g s; want %d, %d, %d over %g s", what, f.Count, f.Errors, f.Latency.Max,
				f.Rate, f.Seconds, count, errs, most, seconds)
		}
	}
	widened := 0
	for range 300 {
		q := url.Values{}
		to := testNow.Add(-time.Duration(random.Int64N(int64(60 * time.Hour)))).Truncate(time.Second)
		from := to.Add(-time.Duration(random.Int64N(int64(30 * time.Hour)))).Truncate(time.Second)
		if random.IntN(3) == 0 {
			to = testNow
		}
		q.Set("from", from.Format(time.RFC3339))
		q.Set("to", to.Add(time.Second).Format(time.RFC3339))
		q.Set("spark", "60")
		target := "/api/v1/paths?" + q.Encode()
		table := decode[pathsAnswer](t, get(t, h, target))
		if table.From.After(from) || table.To.Before(to) || from.Sub(table.From) >= time.Minute && table.Resolution == byMinute {
			t.Errorf("%s: from %s to %s", target, table.From, table.To)
		}
		if table.Resolution == byHour {
			widened++
			if from.After(testNow.Add(-47*time.Hour)) || table.From != table.From.Truncate(time.Hour) {
				t.Errorf("%s: widened to hours, from %s", target, table.From)
			}
		}
		check(target, &table.Totals, "", table.From, table.To)
		sparks := uint64(0)
		for i := range table.Paths {
			row := &table.Paths[i]
			check(target+" "+row.Path, &row.Figures, row.Path, table.From, table.To)
			for _, n := range row.Spark {
				sparks += n
			}
		}
		if sparks != table.Totals.Count {
			t.Errorf("%s: the spark lines add up to %d of %d", target, sparks, table.Totals.Count)
		}
		q.Del("spark")
		q.Set("step", []string{"1m", "5m", "20m", "1h", "6h", "1d"}[random.IntN(6)])
		path := ""
		if random.IntN(2) == 0 {
			path = fmt.Sprintf("/p%d", random.IntN(5))
			q.Set("path", path)
		}
		target = "/api/v1/series?" + q.Encode()
		series := decode[seriesAnswer](t, get(t, h, target))
		if series.Resolution == byMinute && (series.From != table.From || series.To != table.To) {
			t.Errorf("%s: from %s to %s, the table %s to %s", target, series.From, series.To, table.From, table.To)
		}
		check(target, &series.Totals, path, series.From, series.To)
		for i := range series.Points {
			end := series.To
			if i+1 < len(series.Points) {
				end = series.Points[i+1].Time
			}
			check(target+fmt.Sprint(i), &series.Points[i].Figures, path, series.Points[i].Time, end)
		}
	}
	if widened == 0 || widened == 300 {
		t.Errorf("%d of 300 ranges were widened to hours", widened)
	}
}

// TestComparisonsAreCutAlike: the part of a range that is in the future is cut off both sides.
func TestComparisonsAreCutAlike(t *testing.T) {
	s, _ := minuteStore(t, rand.New(rand.NewPCG(5, 6)))
	h := NewHandler(Options{Rows: s, Now: func() time.Time { return testNow.Add(20 * time.Second) }, Logger: slog.New(slog.DiscardHandler)})
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 23, hour, minute, 0, 0, time.UTC) }
	for query, want := range map[string][4]time.Time{
		"from=-1h&compare=previous": {at(8, 30), at(9, 30), at(7, 30), at(8, 30)},
		"from=2026-11-23T09&to=2026-11-23T10&compare_from=2026-11-22T09&compare_to=2026-11-22T10": {at(9, 0), at(9, 30), at(-15, 0), at(-15, 30)},
		"from=2026-11-23T07&to=2026-11-23T08&compare_from=2026-11-22T09&compare_to=2026-11-22T10": {at(7, 0), at(8, 0), at(-15, 0), at(-14, 0)},
		// For last week there are only hours, so both sides are cut to whole hours.
		"from=-4h&compare_from=2026-11-20T05:30&compare_to=2026-11-20T09:30": {at(5, 0), at(9, 0), at(-67, 0), at(-63, 0)},
	} {
		for _, path := range []string{"paths", "series"} {
			a := decode[pathsAnswer](t, get(t, h, "/api/v1/"+path+"?"+query))
			got := [4]time.Time{a.From, a.To, a.Before.From, a.Before.To}
			if got != want || a.Totals.Seconds != a.Before.Totals.Seconds || a.Totals.Seconds != a.To.Sub(a.From).Seconds() {
				t.Errorf("%s?%s: %s over %g and %g s, want %s", path, query, got, a.Totals.Seconds, a.Before.Totals.Seconds, want)
			}
		}
	}
	for _, step := range []string{"90s", "7m", "61m", "90m", "0", "-1m"} {
		if resp := get(t, h, "/api/v1/series?step="+step); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("step=%s: status %d", step, resp.StatusCode)
		}
	}
}

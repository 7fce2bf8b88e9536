package api

import (
	"encoding/csv"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/snapshot"
)

// TestRatesAreOverTheCoveredTime reads books that began ten seconds ago and have a response every second, over ranges
// that begin before that and end after now.
func TestRatesAreOverTheCoveredTime(t *testing.T) {
	paths := make([]string, 10)
	for i := range paths {
		paths[i] = fmt.Sprintf("/users/%d", i)
	}
	s := eventStore(t, paths...)
	h := eventHandler(s)
	check := func(what string, f snapshot.Figures, count uint64, seconds float64) {
		t.Helper()
		rate := 0.0
		if seconds > 0 {
			rate = float64(count) / seconds
		}
		if f.Count != count || f.Seconds != seconds || f.Rate != rate {
			t.Errorf("%s: %d in %g s are %g/s, want %d in %g s", what, f.Count, f.Seconds, f.Rate, count, seconds)
		}
	}
	table := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?compare=previous"))
	check("totals", table.Totals, 10, 10)
	check("a row", table.Paths[0].Figures, 10, 10)
	check("the day before", table.Before.Totals, 0, 0)
	check("the row of the day before", *table.Paths[0].Before, 0, 0)
	check("a range of all time", decode[pathsAnswer](t, get(t, h, "/api/v1/paths?from=1970-01-01&to=9999-01-01")).Totals, 10, 10)
	check("a future range", decode[pathsAnswer](t, get(t, h, "/api/v1/paths?from=2030-01-01&to=2030-01-02")).Totals, 0, 0)

	series := decode[seriesAnswer](t, get(t, h, "/api/v1/series?from=-2h&to=2026-11-23T12:00:00Z"))
	check("totals of the series", series.Totals, 10, 10)
	var seconds []float64
	for _, p := range series.Points {
		seconds = append(seconds, p.Seconds)
	}
	if want := []float64{0, 0, 10, 0, 0}; !slices.Equal(seconds, want) {
		t.Errorf("the points cover %v seconds, want %v", seconds, want)
	}
	records, err := csv.NewReader(get(t, h, "/api/v1/paths", "Accept", "text/csv").Body).ReadAll()
	if column := slices.Index(records[0], "seconds"); err != nil || column < 0 || records[1][column] != "10" {
		t.Errorf("%v, %v", records, err)
	}

	// Snapshots over a window of an hour, which begins at the start of a minute and ends now.
	for after, want := range map[time.Duration]struct {
		from           time.Time
		count, seconds int
	}{
		0:                {testNow.Add(-10 * time.Second), 10, 10},
		40 * time.Minute: {testNow.Add(-10 * time.Second), 10, 40*60 + 10},
		2 * time.Hour:    {time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC), 0, 60 * 60},
	} {
		now := testNow.Add(after)
		doc, _ := build(t, snapshot.NewBuilder(s, time.Hour, nil), now)
		check(now.Format("15:04"), doc.Totals, uint64(want.count), float64(want.seconds))
		check(now.Format("15:04")+", its first row", doc.Paths[0].Figures, uint64(want.count), float64(want.seconds))
		if !doc.From.Equal(want.from) || !doc.To.Equal(now) || doc.Window != "1h" {
			t.Errorf("%s: %s from %s to %s, want from %s", now.Format("15:04"), doc.Window, doc.From, doc.To, want.from)
		}
	}
}

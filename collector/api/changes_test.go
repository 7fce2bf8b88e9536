package api

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// TestChanges compares two hours: one path begins to fail, one is slower, one is new, one has vanished, and the others have not changed.
func TestChanges(t *testing.T) {
	rows := &memRows{}
	add := func(hour int64, path string, count, failed int, micros uint64) {
		for i := range count {
			status := uint16(200)
			if i < failed {
				status = 500
			}
			rows.add(hour, "h", "GET", path, status, micros)
		}
	}
	now, before := testHour-1, testHour-2
	add(before, "/same", 500, 2, 5000)
	add(now, "/same", 520, 3, 5200)
	add(before, "/failing", 400, 1, 5000)
	add(now, "/failing", 400, 90, 5000)
	add(before, "/slower", 300, 0, 20_000)
	add(now, "/slower", 300, 0, 60_000)
	add(before, "/fast", 300, 0, 1000)
	add(now, "/fast", 300, 0, 3000) // 2 ms do not matter
	add(now, "/new", 50, 0, 1000)
	add(now, "/rare", 3, 0, 1000)
	add(before, "/vanished", 70, 0, 1000)
	h := NewHandler(Options{Rows: rows, Now: func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler)})
	query := "/api/v1/changes?from=" + stats.HourStart(now).Format(time.RFC3339) + "&to=" + stats.HourStart(testHour).Format(time.RFC3339)
	answer := decode[changesAnswer](t, get(t, h, query))
	want := []struct {
		kind, path       string
		affected         uint64
		count, countThen uint64
	}{
		{changeSlower, "/slower", 300, 300, 300}, {changeFailing, "/failing", 90, 400, 400}, {changeVanished, "/vanished", 70, 0, 70}, {changeNew, "/new", 50, 50, 0},
	}
	if answer.Total != len(want) || len(answer.Changes) != len(want) || !answer.Before.From.Equal(stats.HourStart(before)) {
		t.Fatalf("%+v", answer)
	}
	for i, w := range want {
		if c := answer.Changes[i]; c.Kind != w.kind || c.Path != w.path || c.Affected != w.affected || c.Count != w.count || c.Before.Count != w.countThen {
			t.Errorf("%+v, want %+v", c, w)
		}
	}
	if one := decode[changesAnswer](t, get(t, h, query+"&limit=1")); one.Total != len(want) || len(one.Changes) != 1 {
		t.Errorf("%+v", one)
	}
	if resp := get(t, h, "/api/v1/changes?sort=x"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", resp.StatusCode)
	}
}

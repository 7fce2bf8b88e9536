package api

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

// dropStore returns a store with a response, and drop records of three hours.
func dropStore(t *testing.T) *store.Store {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return testNow },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dropped := func(seq uint64, ago time.Duration, reason string, responses uint64) store.Item {
		return store.Item{Seq: seq, Event: event.Event{
			TimeMicros: testNow.Add(-ago).UnixMicro(), Kind: event.KindDrop, ErrorType: []byte(reason), RequestBytes: responses,
		}}
	}
	response := store.Item{Seq: 4, Host: "h", Method: "GET", Label: "/", Event: event.Event{
		TimeMicros: testNow.Add(-time.Second).UnixMicro(), Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Host: []byte("h"), Path: []byte("/"),
	}}
	err = s.Apply(&store.Batch{Epoch: uuid.UUID{1}, LastSeq: 4, Items: []store.Item{
		dropped(1, 30*time.Hour, "full", 100), dropped(2, time.Hour, "full", 107), dropped(3, 0, "age", 2), response,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDropsInTotals: totals and points over all paths include dropped responses; those over selected paths do not,
// because a dropped response has no path.
func TestDropsInTotals(t *testing.T) {
	s := dropStore(t)
	h := NewHandler(Options{Rows: s, Now: func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler)})
	var answer struct {
		Totals snapshot.Figures
		Before struct{ Totals snapshot.Figures }
		Points []struct {
			Time time.Time
			snapshot.Figures
		}
	}
	ask := func(path string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		answer.Totals, answer.Before.Totals, answer.Points = snapshot.Figures{}, snapshot.Figures{}, nil
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s %v", path, w.Code, w.Body, err)
		}
	}
	want := map[string]uint64{"full": 7, "age": 2}
	before := map[string]uint64{"full": 100}
	for _, path := range []string{"/api/v1/paths?compare=previous", "/api/v1/series?compare=previous"} {
		ask(path)
		if answer.Totals.Count != 1 || !maps.Equal(answer.Totals.Dropped, want) || !maps.Equal(answer.Before.Totals.Dropped, before) {
			t.Errorf("%s: totals %+v, before %v", path, answer.Totals, answer.Before.Totals.Dropped)
		}
	}
	for _, p := range answer.Points {
		var want map[string]uint64
		switch testNow.Truncate(time.Hour).Sub(p.Time) {
		case 0:
			want = map[string]uint64{"age": 2}
		case time.Hour:
			want = map[string]uint64{"full": 7}
		}
		if !maps.Equal(p.Dropped, want) {
			t.Errorf("%s: %v dropped, want %v", p.Time, p.Dropped, want)
		}
	}
	for _, path := range []string{"/api/v1/paths?host=h", "/api/v1/paths?status=200", "/api/v1/series?path=/", "/api/v1/series?method=GET"} {
		if ask(path); answer.Totals.Count != 1 || answer.Totals.Dropped != nil {
			t.Errorf("%s: %+v", path, answer.Totals)
		}
	}
	if doc, _ := build(t, snapshot.NewBuilder(s, 0, nil), testNow); !maps.Equal(doc.Totals.Dropped, want) {
		t.Errorf("the snapshot says %v", doc.Totals.Dropped)
	}
}

package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// TestImportedLogs: rows of an access log beside those of traffic, in the same hours and under the same names. The accounting has only the
// traffic, before and after the store is opened again; the verification finds both, and sees an imported row that is missing.
func TestImportedLogs(t *testing.T) {
	dir := t.TempDir()
	open := func() *Store {
		s, err := Open(testOptions(dir))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	g := plainTraffic(2)
	apply(t, s, g.batch(500))
	log := ImportedLog{ID: uuid.New(), Name: "access.log", From: testStart.Add(-30 * time.Hour), To: testStart, Bytes: 100}
	var keys []stats.Key
	var rows []*stats.Row
	for i := range ImportRowsMax {
		row := new(stats.Row)
		for range i + 1 {
			row.AddUntimed(&event.Event{Kind: event.KindRequest, Status: 200})
			log.Responses++
		}
		keys = append(keys, stats.Key{Hour: stats.HourOf(testStart) - int64(i%30), Host: "example.org", Method: "GET", Label: routes[i%len(routes)].label + string(rune('a'+i%26))})
		rows = append(rows, row)
	}
	if err := s.ImportLogRows(log, keys, append(rows[1:], new(stats.Row))); !errors.Is(err, ErrInvalid) {
		t.Errorf("rows that do not add up: %v", err)
	}
	if err := s.ImportLogRows(log, keys, rows); err != nil {
		t.Fatal(err)
	}
	if err := s.CoverImportedLog(log.ID); err != nil {
		t.Fatal(err)
	}
	apply(t, s, g.batch(500))
	check := func() {
		t.Helper()
		totals, sum, err := s.Account(t.Context())
		if err != nil || sum != 1000 || totals.Applied != 1000 || s.ImportedResponses() != log.Responses {
			t.Errorf("%+v, %d in the rows, %d imported, %v", totals, sum, s.ImportedResponses(), err)
		}
		imported := uint64(0)
		err = s.Rows(t.Context(), 0, 1<<40, func(k stats.Key, r *stats.Row) error {
			if k.Route == stats.ImportedRoute {
				imported += r.Count
			}
			return nil
		})
		if err != nil || imported != log.Responses {
			t.Errorf("%d imported in the rows, want %d, %v", imported, log.Responses, err)
		}
		if !s.Began().Equal(log.From) || len(s.ImportedLogs()) != 1 {
			t.Errorf("began %v, logs %+v", s.Began(), s.ImportedLogs())
		}
		if gaps := s.Gaps(log.From, testStart); len(gaps) != 0 {
			t.Errorf("gaps in the imported time: %v", gaps)
		}
		wantVerified(t, s, 0)
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer func() { _ = s.Close() }()
	check()
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	lost := keys[7]
	lost.Route = stats.ImportedRoute
	if err := s.deleteKeys(t.Context(), [][]byte{appendRowKey(nil, &lost)}); err != nil {
		t.Fatal(err)
	}
	wantVerified(t, s, 1)
}

// wantVerified verifies the store and wants so many checks to find something.
func wantVerified(t *testing.T, s *Store, want int) {
	t.Helper()
	checks, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, c := range checks {
		if c.Found > 0 {
			found++
			if want == 0 {
				t.Errorf("%+v", c)
			}
		}
	}
	if want > 0 && found < want {
		t.Errorf("%d checks found something, want %d", found, want)
	}
}

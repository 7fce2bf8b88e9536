package api

import (
	"encoding/csv"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

var testEpoch = uuid.MustParse("0190a0b0-c0d0-7e0f-8102-030405060708")

// eventStore returns a real store with an event every second until testNow.
func eventStore(t *testing.T, paths ...string) *store.Store {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(store.Options{
		Dir: dir + "/store", QuarantineDir: dir + "/quarantine", ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return testNow },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := store.Batch{Epoch: testEpoch}
	apply := func() {
		if err := s.Apply(&b); err != nil {
			t.Fatal(err)
		}
		b.Items = b.Items[:0]
	}
	for i, path := range paths {
		at := testNow.Add(-time.Duration(len(paths)-i) * time.Second)
		e := event.Event{
			TimeMicros: at.UnixMicro(), Kind: event.KindRequest, Status: uint16(200 + 100*(i%4)), DurationMicros: uint64(1000 * (i + 1)),
			Method: []byte("GET"), Host: []byte("a"), Path: []byte(path), RequestID: fmt.Appendf(nil, "id-%d", i+1),
		}
		b.LastSeq = uint64(i + 1)
		b.Items = append(b.Items, store.Item{Seq: b.LastSeq, Host: "a", Method: "GET", Label: "/users/{id}", Event: e})
		if len(b.Items) == 1000 {
			apply()
		}
	}
	apply()
	return s
}

func eventHandler(s *store.Store) http.Handler {
	return NewHandler(Options{
		Rows: s, Events: s, Now: func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler), Service: "shop",
	})
}

func seqs(a eventsAnswer) (out []uint64) {
	for i := range a.Events {
		out = append(out, a.Events[i].Seq)
	}
	return out
}

func TestEvents(t *testing.T) {
	h := eventHandler(eventStore(t, "/users/1", "/users/2", "/users/3", "/users/4", "/users/\xff"))
	for query, want := range map[string]string{
		"":                           "[5 4 3 2 1]",
		"order=asc":                  "[1 2 3 4 5]",
		"status=3xx":                 "[2]",
		"status=200,500-599":         "[5 4 1]",
		"min_duration=4ms":           "[5 4]",
		"min_duration=5000":          "[5]",
		"path=/users/2":              "[2]",
		"path=/users/{id}&limit=2":   "[5 4]",
		"path=/users":                "[]",
		"path=/users/*":              "[5 4 3 2 1]",
		"path=/orders/*":             "[]",
		"method=post":                "[]",
		"from=-2s":                   "[5 4]",
		"kind=stream":                "[]",
		"request_id=id-2":            "[2]",
		"request_id=id-":             "[]",
		"prefix=/users/&host=A":      "[5 4 3 2 1]",
		"from=-10s&to=-4s&kind=drop": "[]",
	} {
		query = strings.NewReplacer("{", "%7B", "}", "%7D").Replace(query)
		a := decode[eventsAnswer](t, get(t, h, "/api/v1/events?"+query))
		if got := fmt.Sprint(seqs(a)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestEventsPageByPage(t *testing.T) {
	h := eventHandler(eventStore(t, "/users/1", "/users/2", "/users/3", "/users/4", "/users/5"))
	for _, order := range []string{"desc", "asc"} {
		var got []uint64
		cursor := ""
		for range 10 {
			a := decode[eventsAnswer](t, get(t, h, "/api/v1/events?limit=2&order="+order+"&cursor="+url.QueryEscape(cursor)))
			got = append(got, seqs(a)...)
			cursor = a.NextCursor
			if a.Complete {
				break
			}
		}
		if want := map[string]string{"desc": "[5 4 3 2 1]", "asc": "[1 2 3 4 5]"}[order]; fmt.Sprint(got) != want {
			t.Errorf("%s: %v", order, got)
		}
		if (cursor == "") != (order == "desc") {
			t.Errorf("%s: cursor %q at the end", order, cursor)
		}
	}
}

func TestEventByID(t *testing.T) {
	h := eventHandler(eventStore(t, "/users/1", "/users/\xffx"))
	all := decode[eventsAnswer](t, get(t, h, "/api/v1/events"))
	one := decode[Event](t, get(t, h, "/api/v1/events/"+all.Events[0].ID.String()))
	if one != all.Events[0] || one.Path != "/users/%FFx" || one.Service != "shop" || one.Time != "2026-11-23T09:29:59.000000Z" {
		t.Errorf("%+v", one)
	}
	if resp := get(t, h, "/api/v1/events/"+uuid.NewString()); resp.StatusCode != http.StatusNotFound {
		t.Errorf("unknown id: %d", resp.StatusCode)
	}
	if resp := get(t, h, "/api/v1/events/7"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("bad id: %d", resp.StatusCode)
	}
}

func TestBadEventParameters(t *testing.T) {
	h := eventHandler(eventStore(t, "/"))
	asc := decode[eventsAnswer](t, get(t, h, "/api/v1/events?order=asc")).NextCursor
	for _, query := range []string{
		"order=up", "path=users", "path=us*", "cursor=!", "cursor=AAAA", "cursor=" + asc, "kind=x", "min_duration=fast", "status=6", "status=20x,a", "status=9-1", "status=9xx", "limit=0", "sort=p50",
	} {
		if resp := get(t, h, "/api/v1/events?"+query); resp.StatusCode != http.StatusBadRequest && query != "status=6" {
			t.Errorf("%s: status %d", query, resp.StatusCode)
		}
	}
}

func TestCSV(t *testing.T) {
	h := NewHandler(Options{Rows: sampleRows(), Now: func() time.Time { return stats.HourStart(testHour + 1) }})
	for target, lines := range map[string]int{"/api/v1/paths": 4, "/api/v1/paths?compare=previous": 4, "/api/v1/series?path=/users&from=-4h": 5} {
		resp := get(t, h, target, "Accept", "text/csv")
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") {
			t.Errorf("%s: %s", target, resp.Header.Get("Content-Type"))
		}
		records, err := csv.NewReader(resp.Body).ReadAll() // rejects lines of different lengths
		if err != nil || len(records) != lines {
			t.Errorf("%s: %d lines, want %d, %v", target, len(records), lines, err)
		}
	}
	if resp := get(t, h, "/api/v1/paths", "Accept", "application/json, text/csv"); resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("JSON was preferred, got %s", resp.Header.Get("Content-Type"))
	}
	for in, want := range map[string]string{"=1+1": "'=1+1", "/a": "/a", "": "", "@x": "'@x"} {
		if got := escapeFormula(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestPathsComparedAndFiltered(t *testing.T) {
	// now is at the end of an hour, because in the middle of it a comparison would leave out the current hour if there
	// were no minutes.
	h := NewHandler(Options{Rows: sampleRows(), Now: func() time.Time { return stats.HourStart(testHour + 1) }})
	a := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?from=-24h&compare=previous&spark=4"))
	if a.Before == nil || a.Before.Totals.Count != 1 || len(a.Paths) != 3 || a.Paths[0].Before == nil || a.Paths[0].Before.Count != 0 {
		t.Fatalf("%+v", a.Before)
	}
	for _, row := range a.Paths {
		sum := uint64(0)
		for _, n := range row.Spark {
			sum += n
		}
		if len(row.Spark) != 4 || sum != row.Count {
			t.Errorf("%s: spark %v of %d", row.Path, row.Spark, row.Count)
		}
	}
	a = decode[pathsAnswer](t, get(t, h, "/api/v1/paths?status=5xx"))
	if len(a.Paths) != 1 || a.Paths[0].Path != "/users" || a.Paths[0].Matched == nil || *a.Paths[0].Matched != 5 {
		t.Errorf("5xx: %+v", a.Paths)
	}
	s := decode[seriesAnswer](t, get(t, h, "/api/v1/series?from=-4h&compare=previous"))
	if s.Totals.Count != 16 || s.Before == nil || len(s.Before.Points) != len(s.Points) {
		t.Errorf("%+v", s)
	}
	for _, query := range []string{"compare=yes", "compare_from=-1h", "compare=previous&compare_from=-2h", "spark=0", "spark=1000", "status=xx"} {
		if resp := get(t, h, "/api/v1/paths?"+query); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", query, resp.StatusCode)
		}
	}
}

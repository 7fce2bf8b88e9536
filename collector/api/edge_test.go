package api

import (
	"crypto/tls"
	"encoding/csv"
	"io"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

// edgeStore returns a store with requests of three routes, one after another each second: "" (not a gRPC call), "api"
// and "web". A call in second i ends with code i % 20, where 18 and 19 mean that it is not a gRPC call.
func edgeStore(t *testing.T) *store.Store {
	t.Helper()
	s := eventStore(t)
	b := store.Batch{Epoch: testEpoch}
	for i := range 600 {
		route := []string{"", "api", "web"}[i%3]
		e := event.Event{
			TimeMicros: testNow.Add(-600e9).UnixMicro() + int64(i)*1e6, Kind: event.KindRequest, Status: 200, DurationMicros: 500,
			Method: []byte("POST"), Host: []byte("a"), Path: []byte("/a.B/Call"), Route: []byte(route),
		}
		if route != "" {
			e.TLSVersion, e.Attempts = tls.VersionTLS13, 2
			if code := i % 20; code <= event.GRPCCodeOther {
				e.GRPCStatus = event.GRPCOf(code)
			}
		}
		b.LastSeq = uint64(i + 1)
		b.Items = append(b.Items, store.Item{Seq: b.LastSeq, Host: "a", Method: "POST", Label: "/a.B/Call", Route: route, Event: e})
	}
	if err := s.Apply(&b); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRoutesAndCallsInTables: a route is part of a row's name; filters select by route and gRPC status; figures count
// calls by code.
func TestRoutesAndCallsInTables(t *testing.T) {
	h := eventHandler(edgeStore(t))
	all := decode[pathsAnswer](t, get(t, h, "/api/v1/paths"))
	if len(all.Paths) != 3 || all.Totals.Count != 600 {
		t.Fatalf("%d rows, %d responses", len(all.Paths), all.Totals.Count)
	}
	api := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?route=api&spark=2"))
	if len(api.Paths) != 1 || api.Paths[0].Route != "api" || api.Paths[0].Count != 200 || api.Totals.Count != 200 || sumOf(api.Paths[0].Spark) != 200 {
		t.Fatalf("%+v", api)
	}
	// Each of the 20 values of i % 20 occurs in ten of the 200 calls: 18 codes, of which 7 are errors.
	if f := api.Paths[0].Figures; len(f.GRPC) != 18 || f.GRPC["14"] != 10 || f.GRPC["17"] != 10 || f.Errors != 70 {
		t.Errorf("%+v", f)
	}
	if f := all.Paths[0].Figures; all.Paths[0].Route == "" && f.GRPC != nil {
		t.Errorf("without calls: %+v", f)
	}
	for query, want := range map[string]uint64{
		"grpc=14": 20, "grpc=unavailable,0": 40, "grpc=error": 140, "grpc=other&route=web": 10, "grpc=14&status=5xx": 0,
	} {
		matched := uint64(0)
		for _, row := range decode[pathsAnswer](t, get(t, h, "/api/v1/paths?"+query)).Paths {
			matched += *row.Matched
		}
		if matched != want {
			t.Errorf("%s: %d, want %d", query, matched, want)
		}
	}
	series := decode[seriesAnswer](t, get(t, h, "/api/v1/series?route=web&from=-1h"))
	if series.Totals.Count != 200 || series.Totals.GRPC["0"] != 10 || series.Route != "web" {
		t.Errorf("%+v", series.Totals)
	}
	compared := decode[pathsAnswer](t, get(t, h, "/api/v1/paths?route=web&from=2026-11-23T09&to=2026-11-23T10&compare_from=2026-11-23T09&compare_to=2026-11-23T10"))
	if len(compared.Paths) != 1 || compared.Paths[0].Before.Count != 200 {
		t.Errorf("%+v", compared.Paths)
	}
	for _, query := range []string{"grpc=18", "grpc=nope"} {
		if status := get(t, h, "/api/v1/paths?"+query).StatusCode; status != 400 {
			t.Errorf("%s: %d", query, status)
		}
	}
	body, err := io.ReadAll(get(t, h, "/api/v1/paths?route=api", "Accept", "text/csv").Body)
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
	if err != nil || len(table) != 2 {
		t.Fatalf("%s, %v", body, err)
	}
	for i, name := range table[0] {
		want := map[string]string{"route": "api", "grpc_calls": "180", "grpc_errors": "70"}
		if value, checked := want[name]; checked && table[1][i] != value {
			t.Errorf("%s is %s, want %s", name, table[1][i], value)
		}
	}
}

// TestRoutesAndCallsInEvents: events have these fields if they are set, and the filters select by them.
func TestRoutesAndCallsInEvents(t *testing.T) {
	h := eventHandler(edgeStore(t))
	for query, want := range map[string]int{"route=api": 200, "grpc=14": 20, "route=api&grpc=error": 70, "grpc=17": 20, "route=none": 0, "": 600} {
		if got := len(decode[eventsAnswer](t, get(t, h, "/api/v1/events?limit=1000&"+query)).Events); got != want {
			t.Errorf("%s: %d events, want %d", query, got, want)
		}
	}
	for _, e := range decode[eventsAnswer](t, get(t, h, "/api/v1/events?limit=1000")).Events {
		set := e.Route != "" || e.TLS != "" || e.Attempts != 0
		if i := int(e.Seq) - 1; set != (i%3 > 0) || set && (e.TLS != "1.3" || e.Attempts != 2) {
			t.Fatalf("%+v", e)
		} else if code := i % 20; (e.GRPC != nil) != (set && code <= event.GRPCCodeOther) || e.GRPC != nil && *e.GRPC != code {
			t.Fatalf("%+v", e)
		}
	}
	body, err := io.ReadAll(get(t, h, "/api/v1/events?grpc=other&limit=1", "Accept", "text/csv").Body)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(body)), ",17,1.3,2") {
		t.Errorf("%s, %v", body, err)
	}
}

func sumOf(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

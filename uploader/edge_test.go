package uploader

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// edgeItem returns an event as an edge proxy records it.
func edgeItem() memItem {
	it := goldenItems()[0]
	it.event.Route, it.event.Attempts, it.event.TLSVersion, it.event.GRPCStatus = []byte("api"), 2, tls.VersionTLS13, event.GRPCOf(14)
	return it
}

// Each field that only an edge proxy sets is written unless it is zero, and can be read back.
func TestEdgeFields(t *testing.T) {
	hour := testHour.Unix() / 3600
	it := edgeItem()
	text := newLineWriter(goldenPlan()).appendLine(nil, it.seq, rowOf(it.label, &it.event), &it.event)
	want := `,"route":"api","rpc_grpc_status_code":14,"tls_protocol_version":"1.3","attempts":2,`
	if !bytes.Contains(text, []byte(want)) || bytes.Contains(text, []byte("row_route")) {
		t.Errorf("%s", text)
	}
	var line Line
	if err := parseLine(text, &line, hour, testEpoch); err != nil {
		t.Fatal(err)
	}
	if got := line.Event(); got.Route == nil || got.Edge() != it.event.Edge() || !got.IsError() || line.Row() != *rowOf(it.label, &it.event) {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"", "(other)"} { // the row's route, if it differs from the event's
		row := rowOf(it.label, &it.event)
		row.Route = name
		text := newLineWriter(goldenPlan()).appendLine(nil, it.seq, row, &it.event)
		if err := parseLine(text, &line, hour, testEpoch); err != nil || line.Row() != *row || line.Route != "api" {
			t.Errorf("%s: %+v, %v", text, line.Row(), err)
		}
	}
	plain := goldenItems()[0]
	text = newLineWriter(goldenPlan()).appendLine(nil, plain.seq, rowOf(plain.label, &plain.event), &plain.event)
	for _, field := range []string{"route", "grpc", "tls", "attempts"} {
		if bytes.Contains(text, []byte(field)) {
			t.Errorf("without a value there is %s: %s", field, text)
		}
	}
	for from, to := range map[string]string{`_code":14`: `_code":18`, `"1.3"`: `"9.3"`, `"attempts":2`: `"attempts":300`, `"route":"api"`: `"route":"` + strings.Repeat("x", 400) + `"`} {
		it := edgeItem()
		text := newLineWriter(goldenPlan()).appendLine(nil, it.seq, rowOf(it.label, &it.event), &it.event)
		if err := parseLine(bytes.Replace(text, []byte(from), []byte(to), 1), &line, hour, testEpoch); err == nil {
			t.Errorf("%s is accepted", to)
		}
	}
}

// The statistics of an object have a row for each route, count gRPC calls by code, and are the same whether made from
// events or from lines.
func TestStatisticsOfRoutesAndCalls(t *testing.T) {
	p := goldenPlan()
	writer, seq := newLineWriter(p), uint64(0)
	var direct, read fold
	direct.reset()
	read.reset()
	for _, route := range []string{"", "api", "web"} {
		for code := range event.GRPCCodeOther + 2 { // the last two are undefined
			it := edgeItem()
			it.event.Route, it.event.GRPCStatus = []byte(route), event.GRPCOf(code)
			if code == 3 {
				it.event.GRPCStatus = event.GRPCAbsent
			}
			seq++
			row := rowOf(it.label, &it.event)
			direct.add(seq, row, &it.event)
			var line Line
			if err := parseLine(writer.appendLine(nil, seq, row, &it.event), &line, p.Hour, p.Epoch); err != nil {
				t.Fatal(err)
			}
			e, name := line.Event(), line.Row()
			read.add(seq, &name, &e)
		}
	}
	lines := newStatsWriter(p, &direct)
	n := 0
	if err := direct.each(func(r *foldRow) error {
		n++
		text := lines.appendRow(nil, &r.name, &r.row)
		var l statsLine
		key, row, err := parseStatistics(bytes.TrimSpace(text), &l, p.Hour, p.Epoch)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		other := read.rows[r.name]
		if other == nil || key != (stats.Key{Hour: p.Hour, Host: r.name.Host, Method: r.name.Method, Label: r.name.Label, Route: r.name.Route}) {
			t.Fatalf("%+v", key)
		}
		for what, got := range map[string]*stats.Row{"statistics": row, "lines": &other.row} {
			if diff := cmp.Diff(&r.row, got, cmpopts.EquateEmpty(), cmp.AllowUnexported(stats.Sketch{})); diff != "" {
				t.Errorf("%s of route %q:\n%s", what, r.name.Route, diff)
			}
		}
		if len(row.GRPC) != 17 || row.GRPC[16] != (stats.GRPCCount{Code: event.GRPCCodeOther, Count: 2}) {
			t.Errorf("%v", row.GRPC)
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
	for from, to := range map[string]string{`{"code":17,"count":2}`: `{"code":17,"count":99}`, `{"code":0,"count":1},{"code":1`: `{"code":0,"count":1},{"code":0`} {
		for _, r := range direct.rows {
			text := newStatsWriter(p, &fold{}).appendRow(nil, &r.name, &r.row)
			broken := strings.Replace(string(text), from, to, 1)
			var l statsLine
			if _, _, err := parseStatistics([]byte(strings.TrimSpace(broken)), &l, p.Hour, p.Epoch); err == nil || broken == string(text) {
				t.Errorf("%s is accepted", to)
			}
		}
	}
}

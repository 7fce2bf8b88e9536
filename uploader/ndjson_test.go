package uploader

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenItems covers every kind and every field, both absent and present, and the characters that need care.
func goldenItems() []memItem {
	at := testHour.UnixMicro()
	return []memItem{
		{seq: 1, label: "/users/{id}", event: event.Event{
			TimeMicros: at + 123456, Kind: event.KindRequest, Status: 200, DurationMicros: 1500, TTFBMicros: 1400, RequestBytes: 0,
			ResponseBytes: 512, Method: []byte("GET"), Host: []byte("shop.example.com"), Path: []byte("/users/42"),
			Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"), Client: []byte("203.0.113.0"),
			TraceID: []byte("4bf92f3577b34da6a3ce929d0e0e4736"),
		}},
		{seq: 2, label: "(other)", event: event.Event{
			TimeMicros: at + 5_000_000, Kind: event.KindRequest, Status: 502, DurationMicros: 18_446_744_073_709_551_615, Method: []byte("PÖST"),
			Host: []byte("shop.example.com"), Path: []byte("/q\"uote\\back\tslash/\xff\xfe/\u2028/<&>/\x00/日本"), ErrorType: []byte("connect_refused"),
		}},
		{seq: 3, label: "/events", event: event.Event{
			TimeMicros: at + 5_000_001, Kind: event.KindStream, Status: 200, DurationMicros: 60_000_000, TTFBMicros: 900,
			ResponseBytes: 1 << 40, Method: []byte("GET"), Host: []byte("shop.example.com"), Path: []byte("/events"), Protocol: []byte("2"),
		}},
		dropEvent(5, testHour.Add(6*time.Second), "full", 17),
		{seq: 6, event: event.Event{TimeMicros: at + 3599_999_999, Kind: event.KindRequest, Status: 400}},
		{seq: 7, label: "/x", event: event.Event{
			TimeMicros: at + 3599_999_999, Kind: event.KindRequest, Status: 502, Method: []byte("GET"), Path: []byte("/x"), ErrorType: []byte("dns_error"),
			RequestID: []byte("0192f3a4-5b6c-7d8e-9f00-112233445566"),
		}},
	}
}

func goldenPlan() *catalogue.Plan {
	return &catalogue.Plan{
		Epoch: testEpoch, Hour: testHour.Unix() / 3600, Service: "shop \"a\"", Instance: "shop_0", Fields: []string{FieldTraceID}, FormatVersion: FormatVersion,
	}
}

func TestLinesMatchGoldenFile(t *testing.T) {
	w := newLineWriter(goldenPlan())
	var got []byte
	for _, it := range goldenItems() {
		got = w.appendLine(got, it.seq, rowOf(it.label, &it.event), &it.event)
	}
	name := filepath.Join("testdata", "lines-v1.ndjson")
	if *update {
		if err := os.WriteFile(name, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Fatalf("lines differ from the golden file (-want +got):\n%s", diff)
	}
	for i, text := range bytes.Split(bytes.TrimSuffix(got, []byte("\n")), []byte("\n")) {
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("line %d is not JSON: %v", i+1, err)
		}
		it := goldenItems()[i]
		if line.EventID != event.ID(it.event.TimeMicros, testEpoch, it.seq) || line.Seq != it.seq || line.Epoch != testEpoch {
			t.Errorf("line %d has identity %s %s %d", i+1, line.EventID, line.Epoch, line.Seq)
		}
		if line.Time.UnixMicro() != it.event.TimeMicros || line.Kind != it.event.Kind.String() || line.Duration != it.event.DurationMicros {
			t.Errorf("line %d reads back as %+v", i+1, line)
		}
		if line.Path != percentInvalid(it.event.Path) {
			t.Errorf("line %d has path %q, want %q", i+1, line.Path, percentInvalid(it.event.Path))
		}
	}
}

// The times before the upstream had the request are written unless they are zero, and can be read back.
func TestTimesBeforeTheUpstream(t *testing.T) {
	it := goldenItems()[0]
	it.event.RequestMicros, it.event.WaitMicros = 1_700_000, 300
	text := newLineWriter(goldenPlan()).appendLine(nil, it.seq, rowOf(it.label, &it.event), &it.event)
	if !bytes.Contains(text, []byte(`"ttfb_us":1400,"request_us":1700000,"wait_us":300,"http_request_body_size":`)) {
		t.Errorf("%s", text)
	}
	var line Line
	if err := parseLine(text, &line, testHour.Unix()/3600, testEpoch); err != nil {
		t.Fatal(err)
	}
	if e := line.Event(); e.RequestMicros != 1_700_000 || e.WaitMicros != 300 {
		t.Errorf("%+v", e)
	}
	line.Wait = figureMax + 1
	if err := line.check(testHour.Unix()/3600, testEpoch); err == nil {
		t.Error("an impossible wait is accepted")
	}
}

func TestTraceIDIsWrittenOnlyWhereThePlanSaysSo(t *testing.T) {
	plan := goldenPlan()
	plan.Fields = nil
	it := goldenItems()[0]
	line := newLineWriter(plan).appendLine(nil, it.seq, rowOf(it.label, &it.event), &it.event)
	if bytes.Contains(line, []byte("trace_id")) {
		t.Fatalf("line has a trace_id: %s", line)
	}
}

// Each optional field can be left out alone, and the row of the line stays the same.
func TestOmittedFieldsAreLeftOutAndNothingElse(t *testing.T) {
	it := goldenItems()[0]
	row := catalogue.RowName{Host: "shop.example", Method: "GET", Label: "/orders/{id}"}
	line := func(omit ...string) map[string]any {
		plan := goldenPlan()
		fields, err := planFields([]string{FieldTraceID}, omit)
		if err != nil {
			t.Fatal(err)
		}
		plan.Fields = fields
		var got map[string]any
		if err := json.Unmarshal(newLineWriter(plan).appendLine(nil, 7, &row, &it.event), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	whole := line()
	for _, name := range OmitFields {
		want := maps.Clone(whole)
		if _, there := want[name]; !there {
			t.Fatalf("the event has no %s", name)
		}
		delete(want, name)
		if diff := cmp.Diff(want, line(name)); diff != "" {
			t.Errorf("without %s:\n%s", name, diff)
		}
	}
	if got := line(OmitFields...); len(got) != len(whole)-len(OmitFields) {
		t.Errorf("without all of them: %v", got)
	}
}

func TestTimesBeforeTheEpochAndAtTheEdges(t *testing.T) {
	w := newLineWriter(goldenPlan())
	for _, at := range []time.Time{
		time.UnixMicro(-1), time.UnixMicro(0), testHour.Add(-time.Microsecond), testHour, testHour.Add(999_999 * time.Microsecond),
	} {
		want := at.UTC().Format("2006-01-02T15:04:05.000000Z")
		if got := string(w.appendTime(nil, at.UnixMicro())); got != want {
			t.Errorf("time is %s, want %s", got, want)
		}
	}
}

func FuzzStringsReadBack(f *testing.F) {
	for _, it := range goldenItems() {
		f.Add(it.event.Path)
	}
	f.Add([]byte("\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\uFFFD\x7f\x1f"))
	f.Fuzz(func(t *testing.T, v []byte) {
		text := appendString(nil, v)
		if again := appendString(nil, string(v)); !bytes.Equal(text, again) {
			t.Fatalf("string and bytes differ: %q and %q", again, text)
		}
		if !utf8.Valid(text) || !json.Valid(text) {
			t.Fatalf("%q is written as %q", v, text)
		}
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if want := percentInvalid(v); got != want {
			t.Fatalf("%q reads back as %q, want %q", v, got, want)
		}
	})
}

// percentInvalid returns the text of a byte string in a line, computed in a simple way.
func percentInvalid(v []byte) string {
	var b strings.Builder
	for len(v) > 0 {
		r, size := utf8.DecodeRune(v)
		if r == utf8.RuneError && size == 1 {
			b.WriteString("%" + strings.ToUpper(string([]byte{hexDigits[v[0]>>4], hexDigits[v[0]&15]})))
		} else {
			b.WriteRune(r)
		}
		v = v[size:]
	}
	return b.String()
}

func TestAppendingALineDoesNotAllocate(t *testing.T) {
	w := newLineWriter(goldenPlan())
	it := goldenItems()[0]
	buf := make([]byte, 0, 4096)
	row := rowOf(it.label, &it.event)
	if n := testing.AllocsPerRun(100, func() { buf = w.appendLine(buf[:0], it.seq, row, &it.event) }); n != 0 {
		t.Fatalf("%v allocations a line", n)
	}
}

func TestObjectMatchesGoldenFile(t *testing.T) {
	// The same plan must give the same bytes with every build of the program. If a change in the compressor breaks
	// this, a new FormatVersion is needed.
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 100, goldenItems()...)
	pending, _ := m.Pending(context.Background(), farFuture)
	plan := goldenPlan()
	for i := range pending {
		(&draft{Plan: plan}).add(&pending[i])
	}
	b := newBuilder()
	if _, err := b.build(context.Background(), m, plan); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(b.body.reader()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("testdata", "object-v1.ndjson.gz")
	if *update {
		if err := os.WriteFile(name, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Fatalf("object differs from the golden file: %d bytes instead of %d", got.Len(), len(want))
	}
}

package reader_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/timeparse"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// library is a store, an uploader, and the archive that they have created.
type library struct {
	store  *store.Store
	dir    string // folder of the archive
	target uploader.Target
}

var start = time.Date(2026, 3, 17, 9, 59, 0, 0, time.UTC)

// newLibrary archives two epochs of 1,000 events each, 200 ms apart, across the end of an hour. Every 100th event is an
// error, and each epoch has one drop record and one gap in its numbers.
func newLibrary(t *testing.T) *library {
	t.Helper()
	dir := t.TempDir()
	l := &library{dir: filepath.Join(dir, "archive")}
	var err error
	if l.target, err = uploader.OpenTarget(t.Context(), l.dir, uploader.TargetOptions{}); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	l.store, err = store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.store.Close(); err != nil {
			t.Error(err)
		}
	})
	for n := range byte(2) {
		apply(t, l.store, uuid.UUID{6: 0x70, 8: 0x80, 15: n + 1})
	}
	u, err := uploader.New(uploader.Options{Source: l.store, Catalogue: l.store, Target: l.target, Service: "shop", Instance: "a_b", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := u.ArchiveOnce(t.Context(), true); err != nil || r.Rows != 1998 {
		t.Fatalf("archived %+v, %v", r, err)
	}
	return l
}

func apply(t *testing.T, s *store.Store, epoch uuid.UUID) {
	t.Helper()
	b := &store.Batch{Epoch: epoch, LastSeq: 1001}
	for seq := uint64(1); seq <= 1001; seq++ {
		if seq == 700 {
			continue
		}
		it := store.Item{Seq: seq, Host: "shop.test", Method: "GET", Label: "/users/{id}", Event: event.Event{
			TimeMicros: start.UnixMicro() + int64(seq)*200_000, Kind: event.KindRequest, Status: 200, DurationMicros: 900 + seq,
			Method: []byte("GET"), Host: []byte("shop.test"), Path: fmt.Appendf(nil, "/users/%d", seq),
		}}
		if seq%100 == 0 {
			it.Event.Status, it.Event.RequestID = 503, fmt.Appendf(nil, "request-%d", seq)
		}
		if seq == 500 {
			it.Event.Kind, it.Event.ErrorType, it.Event.RequestBytes = event.KindDrop, []byte("full"), 7
		}
		b.Items = append(b.Items, it)
	}
	if err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
}

func (l *library) plans(t *testing.T) []catalogue.Plan {
	t.Helper()
	var plans []catalogue.Plan
	if err := l.store.Plans(t.Context(), func(p *catalogue.Plan) error { plans = append(plans, *p); return nil }); err != nil {
		t.Fatal(err)
	}
	return plans
}

// files lists the files of the objects, first hour first.
func (l *library) files(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.dir, "v1", "dt=*", "hour=*", "*.ndjson.gz"))
	if err != nil || len(files) != 4 {
		t.Fatalf("objects are %v, %v", files, err)
	}
	slices.Sort(files)
	return files
}

func TestListSelectsByHour(t *testing.T) {
	l := newLibrary(t)
	for _, c := range []struct {
		from, to string
		want     int
	}{
		{"", "", 4},
		{"2026-03-17", "2026-03-18", 4},
		{"2026-03-17T09", "2026-03-17T10", 2},
		{"2026-03-17T09:59:59Z", "", 4},
		{"2026-03-17T10", "", 2},
		{"", "2026-03-17T10", 2},
		{"2026-03-17T11", "2026-03-19", 0},
		{"2026-03-16", "2026-03-17T09", 0},
	} {
		n := 0
		err := reader.List(t.Context(), l.target, span(t, c.from, c.to), func(o uploader.Object) error {
			if o.Service != "shop" || o.Instance != "a_b" || o.Size == 0 || o.First == 0 || o.Last < o.First {
				t.Errorf("object is %+v", o)
			}
			n++
			return nil
		})
		if err != nil || n != c.want {
			t.Errorf("%s to %s: %d objects, %v; want %d", c.from, c.to, n, err, c.want)
		}
	}
}

func span(t *testing.T, from, to string) (r reader.Range) {
	t.Helper()
	var err error
	if from != "" {
		if r.From, err = timeparse.Parse(from, start); err != nil {
			t.Fatal(err)
		}
	}
	if to != "" {
		if r.To, err = timeparse.Parse(to, start); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestCatFilters(t *testing.T) {
	l := newLibrary(t)
	errorsOnly, err := query.ParseStatuses("5xx")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		filter reader.Filter
		limit  uint64
		want   uint64
	}{
		"responses":         {want: 1998},
		"all lines":         {filter: reader.Filter{Drops: true}, want: 2000},
		"limit":             {limit: 10, want: 10},
		"errors":            {filter: reader.Filter{Status: errorsOnly}, want: 2 * 8}, // ten, minus the drop record, minus the gap
		"one path":          {filter: reader.Filter{Path: "/users/42"}, want: 2},
		"template":          {filter: reader.Filter{Path: "/users/{id}"}, want: 1998},
		"prefix":            {filter: reader.Filter{Path: "/users/99*"}, want: 2 * 11},
		"another service":   {filter: reader.Filter{Service: "other"}},
		"a request id":      {filter: reader.Filter{RequestID: "request-300"}, want: 2},
		"another id":        {filter: reader.Filter{RequestID: "request-30"}},
		"another method":    {filter: reader.Filter{Method: "POST"}},
		"from within":       {filter: reader.Filter{Range: reader.Range{From: start.Add(100 * time.Second)}, Drops: true}, want: 2 * 501}, // numbers 500 to 1001 except 700
		"to within":         {filter: reader.Filter{Range: reader.Range{To: start.Add(100 * time.Second)}, Drops: true}, want: 2 * 499},
		"one moment":        {filter: reader.Filter{Range: reader.Range{From: start.Add(200 * time.Millisecond), To: start.Add(201 * time.Millisecond)}}, want: 2},
		"errors of a range": {filter: reader.Filter{Range: reader.Range{To: start.Add(50 * time.Second)}, Status: errorsOnly}, want: 4},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			n, err := reader.Cat(t.Context(), l.target, c.filter, &out, c.limit)
			if err != nil || n.Lines != c.want || n.Repeated > 0 || len(n.Problems) > 0 || uint64(strings.Count(out.String(), "\n")) != c.want {
				t.Fatalf("%+v (%d written), %v; want %d", n, strings.Count(out.String(), "\n"), err, c.want)
			}
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Fatalf("not JSON: %s", line)
				}
			}
		})
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	verify := func(t *testing.T, l *library, quick bool, plans []catalogue.Plan) *reader.Report {
		t.Helper()
		r, err := reader.Verify(context.Background(), l.target, reader.VerifyOptions{Plans: plans, Quick: quick})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := func(t *testing.T, r *reader.Report, text string) {
		t.Helper()
		for _, p := range r.Problems {
			if strings.Contains(p.String(), text) {
				return
			}
		}
		t.Errorf("nothing about %q in %v", text, r.Problems)
	}
	t.Run("nothing", func(t *testing.T) {
		l := newLibrary(t)
		for _, quick := range []bool{true, false} {
			if r := verify(t, l, quick, l.plans(t)); len(r.Problems) != 0 || r.Objects != 4 || r.Known != 4 || r.Rows != 1998 || r.Epochs != 2 {
				t.Errorf("quick %v: %+v", quick, r)
			}
		}
		if r := verify(t, l, false, nil); len(r.Problems) != 0 || r.Foreign != 4 {
			t.Errorf("without a catalogue: %+v", r)
		}
	})
	t.Run("an object is gone", func(t *testing.T) {
		l := newLibrary(t)
		if err := os.Remove(l.files(t)[0]); err != nil {
			t.Fatal(err)
		}
		want(t, verify(t, l, true, l.plans(t)), "is missing")
	})
	t.Run("a byte has changed", func(t *testing.T) {
		l := newLibrary(t)
		name := l.files(t)[1]
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, l, false, l.plans(t)); len(r.Problems) == 0 {
			t.Error("nothing found")
		}
		if r := verify(t, l, false, nil); len(r.Problems) == 0 {
			t.Error("nothing found without a catalogue")
		}
	})
	t.Run("another header, same content", func(t *testing.T) {
		l := newLibrary(t)
		name := l.files(t)[1]
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[4] ^= 1 // the time in the gzip header
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, verify(t, l, false, l.plans(t)), "its bytes differ")
	})
	t.Run("events stand there twice", func(t *testing.T) {
		l := newLibrary(t)
		name := l.files(t)[0]
		for _, suffix := range []string{"", ".json"} {
			content, err := os.ReadFile(name + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(strings.Replace(name, "shop_", "shop2_", 1)+suffix, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want(t, verify(t, l, true, nil), "are also in")
		r := verify(t, l, false, l.plans(t))
		want(t, r, "are also in")
		want(t, r, "in no plan")
	})
	t.Run("metadata says otherwise", func(t *testing.T) {
		l := newLibrary(t)
		name := l.files(t)[0] + ".json"
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte(`"wayside-rows": "`), []byte(`"wayside-rows": "1`), 1)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, verify(t, l, false, nil), "wayside-rows")
		want(t, verify(t, l, true, l.plans(t)), "according to the catalogue")
	})
}

func TestParseKey(t *testing.T) {
	for _, key := range []string{
		"", "v1/x", "v1/dt=2026-03-17/hour=09/a_b_c.ndjson.gz", "v2/dt=2026-03-17/hour=09/a_b_00000000-0000-7000-8000-000000000001_1-2.ndjson.gz",
		"v1/dt=2026-03-17/hour=25/a_b_00000000-0000-7000-8000-000000000001_1-2.ndjson.gz",
		"v1/dt=2026-03-17/hour=09/a_b_00000000-0000-7000-8000-000000000001_1.ndjson.gz",
	} {
		if _, err := uploader.ParseKey(key); err == nil {
			t.Errorf("key %q is accepted", key)
		}
	}
}

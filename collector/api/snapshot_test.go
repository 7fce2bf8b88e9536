package api

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
)

func build(t testing.TB, b *Builder, now time.Time) (Document, *snapshot.Snapshot) {
	t.Helper()
	s, err := b.Build(context.Background(), now, map[uuid.UUID]uint64{{7}: 42})
	if err != nil {
		t.Fatal(err)
	}
	var doc Document
	if err := json.Unmarshal(s.JSON, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, s
}

// Whatever is added, in whatever hour, and however snapshots are interleaved: the incremental builder says what a fresh one
// says, and the totals equal the sum over the rows.
func TestSnapshotProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &memRows{}
		b := NewBuilder(m, 4*time.Hour, nil)
		now := testNow
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "minutes")) * time.Minute)
			for range rapid.IntRange(0, 40).Draw(rt, "events") {
				hour := floorHour(now) - int64(rapid.IntRange(0, 5).Draw(rt, "hours ago"))
				label := rapid.SampledFrom([]string{"/a", "/b", "/c", "(other)"}).Draw(rt, "label")
				if rapid.Bool().Draw(rt, "many") {
					label = fmt.Sprintf("/p%d", rapid.IntRange(0, 120).Draw(rt, "path"))
				}
				m.add(hour, "h", "GET", label, 200, rapid.Uint64Range(0, 1e6).Draw(rt, "micros"))
				b.Touch(hour)
			}
			got, _ := build(t, b, now)
			want, _ := build(t, NewBuilder(m, 4*time.Hour, nil), now)
			got.Version, want.Version = 0, 0
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("(-fresh +incremental):\n%s", diff)
			}
			var count, errors, in, out uint64
			for _, r := range got.Paths {
				count, errors, in, out = count+r.Count, errors+r.Errors, in+r.BytesIn, out+r.BytesOut
			}
			if got.Totals.Count != count || got.Totals.Errors != errors || got.Totals.BytesIn != in || got.Totals.BytesOut != out {
				rt.Fatalf("totals %+v are not the sum of the rows", got.Totals)
			}
			if n := len(got.Paths); n > topRows+1 || got.Paths[n-1].Path != "(other)" {
				rt.Fatalf("%d rows", n)
			}
		}
	})
}

func TestSnapshotReadsOnlyWhatChanged(t *testing.T) {
	m := sampleRows()
	b := NewBuilder(m, 0, nil)
	_, first := build(t, b, testNow)
	m.reads.Store(0)
	b.Touch(testHour)
	_, second := build(t, b, testNow)
	if m.reads.Load() != 1 {
		t.Errorf("%d hours were read for one that changed", m.reads.Load())
	}
	if second.Version <= first.Version || second.ETag == first.ETag {
		t.Errorf("versions %d and %d", first.Version, second.Version)
	}
	if b.Stale(testNow) || !b.Stale(testNow.Add(time.Hour)) {
		t.Error("Stale is wrong")
	}
	m.fail = io.ErrUnexpectedEOF
	b.Touch(testHour)
	if _, err := b.Build(t.Context(), testNow, nil); err == nil {
		t.Error("a failed read went unnoticed")
	}
	m.fail = nil
	if doc, _ := build(t, b, testNow); doc.Totals.Count != 16 {
		t.Errorf("after a failed read the count is %d", doc.Totals.Count)
	}
}

func TestSnapshotIsServed(t *testing.T) {
	history := snapshot.NewHistory(0)
	h := NewHandler(Options{Snapshots: history})
	b := NewBuilder(sampleRows(), 0, nil)
	var versions []uint64
	for i := range 7 {
		_, s := build(t, b, testNow.Add(time.Duration(i)*time.Second))
		again, err := snapshot.Decode(s.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatalf("decoded (-want +got):\n%s", diff)
		}
		history.Add(again)
		versions = append(versions, s.Version)
	}
	plain := get(t, h, "/snapshot")
	want, _ := io.ReadAll(plain.Body)
	packed := get(t, h, "/snapshot", "Accept-Encoding", "br, gzip;q=0.5")
	unzip, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(unzip); string(got) != string(want) || packed.Header.Get("Content-Encoding") != "gzip" {
		t.Error("the compressed snapshot differs")
	}
	if enc := get(t, h, "/snapshot", "Accept-Encoding", "gzip;q=0").Header.Get("Content-Encoding"); enc != "" {
		t.Errorf("gzip was refused, got %q", enc)
	}
	if resp := get(t, h, "/snapshot", "If-None-Match", `"x", W/`+plain.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified {
		t.Errorf("status %d for a known ETag", resp.StatusCode)
	}
	for i, v := range versions {
		want := http.StatusOK
		if i < len(versions)-snapshot.KeepDefault {
			want = http.StatusNotFound
		}
		if resp := get(t, h, fmt.Sprintf("/snapshot/%d", v)); resp.StatusCode != want {
			t.Errorf("version %d of %d: status %d", i, len(versions), resp.StatusCode)
		}
	}
	list := decode[struct{ Snapshots []struct{ Version uint64 } }](t, get(t, h, "/snapshots"))
	if len(list.Snapshots) != snapshot.KeepDefault || list.Snapshots[0].Version != versions[6] {
		t.Errorf("list %+v", list)
	}
}

func FuzzParams(f *testing.F) {
	for _, seed := range []string{"from=-24h&to=now", "from=2026-01-01T00:00:00Z&sort=p99", "limit=5&prefix=/a", "step=1d&path=/x", "from=-9223372036854775808h", "from=1e9", "step=999999999d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p := parseParams(query, testNow, "from", "to", "sort", "limit", "method", "host", "prefix", "path", "step")
		span, limit, step, keep := p.hours(), p.limit(), p.step(), p.filter()
		if p.err != nil {
			return
		}
		if span.from >= span.to || span.from < 0 || limit < 1 || limit > limitMax || step < 1 {
			t.Errorf("%q: hours %+v, limit %d, step %d", query, span, limit, step)
		}
		keep.keeps(name{"h", "GET", "/"})
	})
}

func FuzzSnapshotDecode(f *testing.F) {
	f.Add((&snapshot.Snapshot{Version: 1, ETag: `"1"`, JSON: []byte("{}"), Gzip: []byte("x")}).Encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, err := snapshot.Decode(body); err == nil && string(s.Encode()) != string(body) {
			t.Error("what was accepted is not what Encode writes")
		}
	})
}

// BenchmarkSnapshot builds one snapshot of 1,000 rows × 24 hours after the current hour has changed.
func BenchmarkSnapshot(b *testing.B) {
	m := &memRows{}
	for hour := range int64(24) {
		for i := range 1000 {
			for j := range 20 {
				m.add(testHour-hour, "example.com", "GET", fmt.Sprintf("/api/resource-%d", i), 200, uint64(500*(j+1)*(1+i%7)))
			}
		}
	}
	b.Run("current hour changed", func(b *testing.B) {
		builder := NewBuilder(m, 0, nil)
		b.ReportAllocs()
		for b.Loop() {
			builder.Touch(testHour)
			if _, err := builder.Build(b.Context(), testNow, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("everything changed", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewBuilder(m, 0, nil).Build(b.Context(), testNow, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package api

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/stats"
)

func build(t testing.TB, b *snapshot.Builder, now time.Time) (snapshot.Document, *snapshot.Snapshot) {
	t.Helper()
	s, err := b.Build(t.Context(), now, nil)
	if err != nil {
		t.Fatal(err)
	}
	var doc snapshot.Document
	if err := json.Unmarshal(s.JSON, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, s
}

func TestSnapshotIsServed(t *testing.T) {
	history := new(snapshot.History)
	h := NewHandler(Options{Snapshots: history})
	b := snapshot.NewBuilder(sampleRows(), 0, nil)
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
		if i < len(versions)-snapshot.Keep {
			want = http.StatusNotFound
		}
		if resp := get(t, h, fmt.Sprintf("/snapshot/%d", v)); resp.StatusCode != want {
			t.Errorf("version %d of %d: status %d", i, len(versions), resp.StatusCode)
		}
	}
	list := decode[struct{ Snapshots []struct{ Version uint64 } }](t, get(t, h, "/snapshots"))
	if len(list.Snapshots) != snapshot.Keep || list.Snapshots[0].Version != versions[6] {
		t.Errorf("list %+v", list)
	}
}

func FuzzParams(f *testing.F) {
	for _, seed := range []string{"from=-24h&to=now", "from=2026-01-01T00:00:00Z&sort=p99", "limit=5&prefix=/a", "step=1d&path=/x", "from=-9223372036854775808h", "from=1e9", "step=999999999d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p := parseParams(query, testNow, "from", "to", "sort", "limit", "method", "host", "prefix", "path", "step")
		limit, step, keep := p.limit(), p.step(), p.filter()
		span, _, _ := newHandler(Options{Now: func() time.Time { return testNow }}).spans(p)
		if p.err != nil {
			return
		}
		if span.From >= span.To || span.From < 0 || limit < 1 || limit > limitMax || step < 1 {
			t.Errorf("%q: span %+v, limit %d, step %d", query, span, limit, step)
		}
		keep.keeps(stats.Key{Host: "h", Method: "GET", Label: "/"})
	})
}

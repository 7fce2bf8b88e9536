package reader_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// wantRows checks that rebuilt rows equal those of the store in every count and every latency bin.
func wantRows(t *testing.T, l *library, o reader.RebuildOptions) *reader.Rebuilt {
	t.Helper()
	got := map[stats.Key][]byte{}
	hour := int64(0)
	o.Hour = func(keys []stats.Key, rows []*stats.Row) error {
		for i, k := range keys {
			if k.Hour < hour {
				t.Errorf("hour %d after %d", k.Hour, hour)
			}
			hour = k.Hour
			got[k], _ = rows[i].AppendBinary(nil)
		}
		return nil
	}
	built, err := reader.Rebuild(t.Context(), l.target, o)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = l.store.Rows(t.Context(), 0, 1<<40, func(k stats.Key, row *stats.Row) error {
		n++
		want, _ := row.AppendBinary(nil)
		if !bytes.Equal(got[k], want) {
			t.Errorf("row %v differs from that of the store", k)
		}
		return nil
	})
	if err != nil || n != len(got) || n != built.Rows || n == 0 {
		t.Errorf("%d rows in the store, %d rebuilt (%d counted), %v", n, len(got), built.Rows, err)
	}
	return built
}

func TestRebuildEqualsTheStore(t *testing.T) {
	l := newLibrary(t)
	for origin, want := range map[reader.Origin][2]int{reader.FromBest: {4, 0}, reader.FromStatistics: {4, 0}, reader.FromEvents: {0, 4}} {
		t.Run(string(origin), func(t *testing.T) {
			built := wantRows(t, l, reader.RebuildOptions{From: origin})
			if built.FromStatistics != want[0] || built.FromEvents != want[1] || built.Responses != 1998 || built.Hours != 2 || built.Dropped != 14 {
				t.Errorf("%+v", built)
			}
			for epoch, sum := range built.Epochs {
				if sum.LastSeq != 1001 || sum.Responses != 999 || len(sum.Plans) != 2 || sum.Dropped()["full"] != 7 {
					t.Errorf("epoch %s: %+v", epoch, sum)
				}
			}
		})
	}
	t.Run("statistics that are gone are made from events", func(t *testing.T) {
		if err := os.Remove(strings.Replace(l.files(t)[0], "/v1/", "/v1/stats/", 1)); err != nil {
			t.Fatal(err)
		}
		if built := wantRows(t, l, reader.RebuildOptions{}); built.FromStatistics != 3 || built.FromEvents != 1 {
			t.Errorf("%+v", built)
		}
	})
	t.Run("events that are gone are in the statistics, with their drops", func(t *testing.T) {
		for _, file := range l.files(t)[1:] {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		if built := wantRows(t, l, reader.RebuildOptions{}); built.FromStatistics != 3 || built.FromEvents != 1 || built.Dropped != 14 {
			t.Errorf("%+v", built)
		}
	})
}

func TestRebuildLeavesDamageOut(t *testing.T) {
	for _, origin := range []reader.Origin{reader.FromStatistics, reader.FromEvents} {
		l := newLibrary(t)
		name := l.files(t)[0]
		if origin == reader.FromStatistics {
			name = strings.Replace(name, "/v1/", "/v1/stats/", 1)
		}
		content, err := os.ReadFile(name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.Replace(content, []byte(`sha256": "`), []byte(`sha256": "0`), 1)
		if err := os.WriteFile(name+".json", content, 0o600); err != nil {
			t.Fatal(err)
		}
		built, err := reader.Rebuild(t.Context(), l.target, reader.RebuildOptions{From: origin})
		if err != nil || len(built.Problems) != 1 || !strings.Contains(built.Problems[0].String(), "archive verify") || built.Responses >= 1998 || built.Responses == 0 {
			t.Errorf("%s: %+v, %v", origin, built, err)
		}
	}
}

// TestDamagedStatisticsAreMadeFromEvents: if the events exist, they are used instead, and the damage is reported.
func TestDamagedStatisticsAreMadeFromEvents(t *testing.T) {
	l := newLibrary(t)
	if err := os.WriteFile(strings.Replace(l.files(t)[0], "/v1/", "/v1/stats/", 1), []byte("gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	if built := wantRows(t, l, reader.RebuildOptions{}); built.FromEvents != 1 || len(built.Problems) != 1 {
		t.Errorf("%+v", built)
	}
}

func TestCopyAndMerge(t *testing.T) {
	l := newLibrary(t)
	to, err := uploader.OpenTarget(t.Context(), t.TempDir(), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, everything is already there
		c, err := reader.Copy(t.Context(), l.target, to, reader.CopyOptions{Range: span(t, "2026-03-17T09", "2026-03-17T11")})
		if err != nil || c.Objects != 4 || c.Rows != 1998 || c.Lines != 2000 {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	if r, err := reader.Verify(t.Context(), to, reader.VerifyOptions{Plans: l.plans(t)}); err != nil || len(r.Problems) != 0 || r.Known != 4 {
		t.Fatalf("the copy: %+v, %v", r, err)
	}
	wantRows(t, &library{store: l.store, target: to}, reader.RebuildOptions{From: reader.FromStatistics})

	byEpoch := map[uuid.UUID][]uploader.Object{}
	err = reader.List(t.Context(), to, reader.Range{}, func(o uploader.Object) error { byEpoch[o.Epoch] = append(byEpoch[o.Epoch], o); return nil })
	if err != nil || len(byEpoch) != 2 {
		t.Fatalf("%d epochs, %v", len(byEpoch), err)
	}
	for epoch, objects := range byEpoch {
		last, n := uint64(0), 0
		err := reader.Merge(t.Context(), to, objects, func(o *uploader.Object, line *uploader.Line) error {
			if line.Epoch != epoch || line.Seq <= last || line.Seq < o.First || line.Seq > o.Last {
				return fmt.Errorf("line %d of %s after %d", line.Seq, o.Key, last)
			}
			last = line.Seq
			n++
			return nil
		})
		if err != nil || n != 1000 {
			t.Errorf("%d lines, %v", n, err)
		}
	}
}

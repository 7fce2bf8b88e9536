package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

var testNow = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

var testHour = stats.HourOf(testNow)

// memRows are statistics in memory. reads counts the hours that were read.
type memRows struct {
	rows  map[stats.Key]*stats.Row
	reads int64
	fail  error
}

func (m *memRows) add(hour int64, label string, micros uint64) {
	if m.rows == nil {
		m.rows = map[stats.Key]*stats.Row{}
	}
	k := stats.Key{Hour: hour, Host: "example.com", Method: "GET", Label: label}
	if m.rows[k] == nil {
		m.rows[k] = new(stats.Row)
	}
	m.rows[k].Add(&event.Event{Kind: event.KindRequest, Status: 200, DurationMicros: micros, RequestBytes: 1, ResponseBytes: 2})
}

func (m *memRows) Rows(_ context.Context, from, to int64, fn func(stats.Key, *stats.Row) error) error {
	m.reads += to - from
	if m.fail != nil {
		return m.fail
	}
	var keys []stats.Key
	for k := range m.rows {
		if k.Hour >= from && k.Hour < to {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b stats.Key) int { return int(a.Hour - b.Hour) })
	for _, k := range keys {
		if err := fn(k, m.rows[k]); err != nil {
			return err
		}
	}
	return nil
}

func build(t testing.TB, b *Builder, now time.Time) (Document, *Snapshot) {
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

// TestIncrementalEqualsFresh: whatever rows are added between snapshots, a builder that reads only the changes makes
// the same snapshot as a new builder, and the totals equal the sum over the rows.
func TestIncrementalEqualsFresh(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &memRows{}
		b := NewBuilder(m, 4*time.Hour, nil)
		now := testNow
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "minutes")) * time.Minute)
			for range rapid.IntRange(0, 40).Draw(rt, "events") {
				hour := stats.HourOf(now) - int64(rapid.IntRange(0, 5).Draw(rt, "hours ago"))
				label := rapid.SampledFrom([]string{"/a", "/b", "/c", "(other)"}).Draw(rt, "label")
				if rapid.Bool().Draw(rt, "many") {
					label = fmt.Sprintf("/p%d", rapid.IntRange(0, 120).Draw(rt, "path"))
				}
				m.add(hour, label, rapid.Uint64Range(0, 1e6).Draw(rt, "micros"))
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

func TestBuilderReadsOnlyChangedHours(t *testing.T) {
	m := &memRows{}
	for hour := range int64(16) {
		m.add(testHour-hour, "/users/{id}", 1000)
	}
	b := NewBuilder(m, 0, nil)
	_, first := build(t, b, testNow)
	m.reads = 0
	b.Touch(testHour)
	_, second := build(t, b, testNow)
	if m.reads != 1 {
		t.Errorf("%d hours were read for one that changed", m.reads)
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

// TestSnapshotMovesWithItsWindow: a new snapshot is due when the window begins in another hour.
func TestSnapshotMovesWithItsWindow(t *testing.T) {
	m := &memRows{}
	m.add(testHour-1, "/old", 1)
	b := NewBuilder(m, 90*time.Minute, nil)
	at := func(minutes int) time.Time {
		return stats.HourStart(testHour).Add(time.Duration(minutes) * time.Minute)
	}
	for _, step := range []struct {
		minutes int
		count   uint64
	}{{0, 1}, {29, 1}, {89, 1}, {90, 0}} {
		if doc, _ := build(t, b, at(step.minutes)); doc.Totals.Count != step.count || doc.Window != "1h30m" {
			t.Errorf("after %d minutes: %d in %s, want %d", step.minutes, doc.Totals.Count, doc.Window, step.count)
		}
		if b.Stale(at(step.minutes)) {
			t.Errorf("after %d minutes: stale at once", step.minutes)
		}
	}
	if _, err := b.Build(t.Context(), at(149), nil); err != nil || !b.Stale(at(150)) {
		t.Errorf("the window begins in another hour, and the snapshot is not stale (%v)", err)
	}
}

// BenchmarkBuild builds one snapshot of 1,000 rows × 24 hours after the current hour has changed.
func BenchmarkBuild(b *testing.B) {
	m := &memRows{}
	for hour := range int64(24) {
		for i := range 1000 {
			for j := range 20 {
				m.add(testHour-hour, fmt.Sprintf("/api/resource-%d", i), uint64(500*(j+1)*(1+i%7)))
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

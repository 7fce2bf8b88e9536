package failing

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// minutes is a source in memory.
type minutes struct {
	rows  map[stats.Key]map[int64]*stats.Row
	first int64
	reads int
	fail  error
}

func newMinutes(first time.Time) *minutes {
	return &minutes{rows: map[stats.Key]map[int64]*stats.Row{}, first: stats.MinuteOf(first)}
}

// add adds responses to the minute of a time.
func (m *minutes) add(k stats.Key, at time.Time, count, errors uint64, latency time.Duration) {
	if m.rows[k] == nil {
		m.rows[k] = map[int64]*stats.Row{}
	}
	row := rowOfMinute(m.rows[k], stats.MinuteOf(at))
	row.Count += count
	row.Errors += errors
	row.MaxMicros = max(row.MaxMicros, uint64(latency.Microseconds()))
	for range count {
		row.Latency.Add(uint64(latency.Microseconds()))
	}
}

func rowOfMinute(rows map[int64]*stats.Row, minute int64) *stats.Row {
	if rows[minute] == nil {
		rows[minute] = new(stats.Row)
	}
	return rows[minute]
}

func (m *minutes) MinutesFrom() int64 { return m.first }

func (m *minutes) AddMinutes(_ context.Context, from, to int64, rowsOf func(stats.Key) func(int64) *stats.Row) error {
	m.reads++
	for k, rows := range m.rows {
		add := rowsOf(k)
		for minute, row := range rows {
			if add != nil && minute >= from && minute < to {
				add(minute).Merge(row)
			}
		}
	}
	return m.fail
}

func (m *minutes) Sums(_ context.Context, from, to int64, fn func(stats.Key, *stats.Row) error) error {
	for k, rows := range m.rows {
		sum := new(stats.Row)
		for minute, row := range rows {
			if hour := stats.HourOfMinute(minute); hour >= from && hour < to {
				sum.Merge(row)
			}
		}
		if sum.Count > 0 {
			if err := fn(k, sum); err != nil {
				return err
			}
		}
	}
	return m.fail
}

var (
	checkout  = stats.Key{Host: "shop", Method: "POST", Label: "/checkout"}
	home      = stats.Key{Host: "shop", Method: "GET", Label: "/"}
	began     = time.Date(2026, 11, 28, 19, 10, 0, 0, time.UTC)
	incident0 = time.Date(2026, 11, 29, 21, 18, 0, 0, time.UTC)
)

// shop is a source with a day of traffic before the incident: sixty requests a minute to /checkout, one error in 720, and some to the home page.
func shop() *minutes {
	m := newMinutes(began)
	for at, i := began, 0; at.Before(incident0); at, i = at.Add(time.Minute), i+1 {
		failed := uint64(0)
		if i%12 == 0 {
			failed = 1
		}
		m.add(checkout, at, 60, failed, 12*time.Millisecond)
		m.add(home, at, 240, 0, 3*time.Millisecond)
	}
	return m
}

// testClock is a clock that a test moves.
type testClock struct{ now time.Time }

func (c *testClock) Now() time.Time { return c.now }

func check(t *testing.T, w *Watch) Report {
	t.Helper()
	if err := w.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.Report()
}

func TestIncident(t *testing.T) {
	m, clock := shop(), &testClock{incident0}
	w := New(Options{Source: m, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)})
	if r := check(t, w); len(r.Incidents) != 0 || r.CheckedAt != incident0 {
		t.Fatalf("before the incident: %+v", r)
	}
	step := func(failed uint64) Report {
		clock.now = clock.now.Add(10 * time.Second)
		m.add(checkout, clock.now.Add(-time.Second), 10, failed, 12*time.Millisecond)
		m.add(home, clock.now.Add(-time.Second), 40, 0, 3*time.Millisecond)
		return check(t, w)
	}
	var r Report
	for len(r.Incidents) == 0 {
		if r = step(3); clock.now.After(incident0.Add(time.Minute)) {
			t.Fatal("nothing was said for a minute")
		}
	}
	i := r.Incidents[0]
	seconds := uint64(clock.now.Sub(incident0) / time.Second)
	if len(r.Incidents) != 1 || i.Kind != Errors || i.Path != "/checkout" || i.Method != "POST" || i.Host != "shop" || !i.Since.Equal(incident0) {
		t.Errorf("%+v", r.Incidents)
	}
	if i.Share != 0.3 || i.Affected != seconds*3/10 || i.UsualShare < 0.0012 || i.UsualShare > 0.0016 {
		t.Errorf("after %d s: %+v", seconds, i)
	}
	// It goes on for hours, and its usual stays the same.
	for range 2 * 360 {
		r = step(3)
	}
	seconds = uint64(clock.now.Sub(incident0) / time.Second)
	if len(r.Incidents) != 1 || !r.Incidents[0].Since.Equal(incident0) || r.Incidents[0].UsualShare != i.UsualShare || r.Incidents[0].Affected != seconds*3/10 {
		t.Errorf("after %d s: %+v", seconds, r.Incidents)
	}
	// A new process says the same.
	again := check(t, New(Options{Source: m, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)}))
	if len(again.Incidents) != 1 || !again.Incidents[0].Since.Equal(incident0) || again.Incidents[0].Affected != r.Incidents[0].Affected {
		t.Errorf("a new process: %+v", again.Incidents)
	}
	// It ends.
	for range 18 {
		r = step(0)
	}
	if len(r.Incidents) != 0 {
		t.Errorf("three minutes after the end: %+v", r.Incidents)
	}
}

func TestSlower(t *testing.T) {
	m, clock := shop(), &testClock{incident0}
	w := New(Options{Source: m, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)})
	var r Report
	for range 30 {
		clock.now = clock.now.Add(10 * time.Second)
		m.add(checkout, clock.now.Add(-time.Second), 8, 0, 12*time.Millisecond)
		m.add(checkout, clock.now.Add(-time.Second), 2, 0, 90*time.Millisecond)
		m.add(home, clock.now.Add(-time.Second), 40, 0, 9*time.Millisecond) // three times as long, but 6 ms do not matter
		r = check(t, w)
	}
	if len(r.Incidents) != 1 {
		t.Fatalf("%+v", r.Incidents)
	}
	i := r.Incidents[0]
	near := func(micros uint64, want time.Duration) bool {
		return float64(micros) > 0.98*float64(want.Microseconds()) && float64(micros) < 1.02*float64(want.Microseconds())
	}
	if i.Kind != Slow || i.Path != "/checkout" || !i.Since.Equal(incident0) || !near(i.P95, 90*time.Millisecond) || !near(i.UsualP95, 12*time.Millisecond) || i.Affected != 60 {
		t.Errorf("%+v", i)
	}
}

// The usual latency is that of the same hours of other days: a job that is slow every night is no incident.
func TestSameHours(t *testing.T) {
	night := time.Date(2026, 11, 29, 2, 30, 0, 0, time.UTC)
	m := newMinutes(night.Add(-50 * time.Hour))
	for at := night.Add(-50 * time.Hour); !at.After(night); at = at.Add(time.Minute) {
		latency := 10 * time.Millisecond
		if at.Hour() == 2 {
			latency = 200 * time.Millisecond
		}
		m.add(checkout, at, 30, 0, latency)
	}
	w := New(Options{Source: m, Now: func() time.Time { return night }, Logger: slog.New(slog.DiscardHandler)})
	if r := check(t, w); len(r.Incidents) != 0 || r.Rows != 1 {
		t.Errorf("%+v", r)
	}
}

// A path that is new and fails is reported, one that is new and works is not.
func TestNewPath(t *testing.T) {
	m, clock := shop(), &testClock{incident0.Add(50 * time.Second)}
	m.add(stats.Key{Host: "shop", Method: "GET", Label: "/new"}, incident0, 40, 40, time.Millisecond)
	m.add(stats.Key{Host: "shop", Method: "GET", Label: "/good"}, incident0, 40, 1, time.Millisecond)
	r := check(t, New(Options{Source: m, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)}))
	if len(r.Incidents) != 1 || r.Incidents[0].Path != "/new" || r.Incidents[0].UsualCount != 0 || r.Incidents[0].Share != 1 {
		t.Errorf("%+v", r.Incidents)
	}
}

// Without new responses, nothing is read.
func TestIdle(t *testing.T) {
	m, applied := shop(), uint64(7)
	w := New(Options{Source: m, Now: func() time.Time { return incident0 }, Applied: func() uint64 { return applied }, Logger: slog.New(slog.DiscardHandler)})
	for range 3 {
		if err := w.checkIfNeeded(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := m.reads
	for range 100 {
		if err := w.checkIfNeeded(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if m.reads != before {
		t.Errorf("%d reads while idle", m.reads-before)
	}
	if applied++; w.checkIfNeeded(t.Context()) != nil || m.reads == before {
		t.Error("new responses were not read")
	}
}

// TestStore finds an incident in a real store, with rows that were stored and others that were not.
func TestStore(t *testing.T) {
	dir, now := t.TempDir(), incident0.Add(-3*time.Hour)
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	w := New(Options{Source: s, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	random, seq, failed := rand.New(rand.NewPCG(1, 2)), uint64(0), uint64(0)
	apply := func(seconds int, share float64) {
		b := &store.Batch{Epoch: uuid.UUID{1}}
		for range seconds {
			now = now.Add(time.Second)
			for _, path := range []string{"/", "/checkout", "/items/{id}"} {
				seq++
				e := event.Event{
					TimeMicros: now.Add(-time.Millisecond).UnixMicro(), Kind: event.KindRequest, Status: 200, DurationMicros: 5000 + random.Uint64N(2000), Method: []byte("GET"),
					Host: []byte("shop"), Path: []byte(path),
				}
				if path == "/checkout" && random.Float64() < share {
					e.Status = 500
					failed++
				}
				b.Items = append(b.Items, store.Item{Seq: seq, Host: "shop", Method: "GET", Label: path, Event: e})
			}
		}
		b.LastSeq = seq
		if err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	for now.Before(incident0) {
		apply(60, 0)
		if random.IntN(5) == 0 {
			if err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := check(t, w); len(r.Incidents) != 0 || r.Rows != 3 {
		t.Fatalf("before: %+v", r)
	}
	var r Report
	for len(r.Incidents) == 0 && now.Before(incident0.Add(time.Minute)) {
		apply(10, 0.57)
		r = check(t, w)
	}
	for range 60 {
		apply(10, 0.57)
		r = check(t, w)
	}
	if len(r.Incidents) != 1 || r.Incidents[0].Path != "/checkout" || !r.Incidents[0].Since.Equal(incident0) || r.Incidents[0].Affected != failed {
		t.Errorf("%d failed: %+v", failed, r.Incidents)
	}
}

package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// TestRuns follows a process that is killed, one that shuts down, and one that is running. It checks the gaps between
// them and the marks that they make, before and after restarts of the store.
func TestRuns(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	at := func(seconds int) time.Time { return testStart.Add(time.Duration(seconds) * time.Second) }
	reopen := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, o)
	}
	note := func(epoch byte, began, now int) {
		t.Helper()
		if err := s.NoteRun(uuid.UUID{epoch}, at(began), at(now)); err != nil {
			t.Fatal(err)
		}
	}
	gaps := func(when string, from, to int, want ...[2]int) {
		t.Helper()
		var wanted []stats.Gap
		for _, g := range want {
			wanted = append(wanted, stats.Gap{From: at(g[0]).UTC(), To: at(g[1]).UTC()})
		}
		if diff := cmp.Diff(wanted, s.Gaps(at(from), at(to))); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	gaps("nothing is known", 0, 100)
	note(1, 10, 11)
	gaps("the first process runs", 0, 1000)
	note(1, 10, 13)
	g := newTraffic(1)
	g.epoch, g.now = uuid.UUID{1}, at(19).UnixMicro()
	b := g.batch(2)
	b.Items[1].Event.TimeMicros = at(20).UnixMicro() // the last event before it is killed
	apply(t, s, b)
	reopen()
	gaps("killed, and no other one has begun", 0, 100, [2]int{20, 100})
	note(2, 50, 51)
	if err := s.EndRun(at(70)); err != nil {
		t.Fatal(err)
	}
	note(2, 50, 75) // too late
	gaps("shut down", 0, 100, [2]int{20, 50}, [2]int{70, 100})
	reopen()
	note(3, 80, 81)
	gaps("the third process runs", 0, 1000, [2]int{20, 50}, [2]int{70, 80})
	gaps("a part of a gap", 30, 40, [2]int{30, 40})
	gaps("no gap", 55, 60)
	reopen()
	note(3, 80, 200)
	gaps("after a restart of the books", 0, 1000, [2]int{20, 50}, [2]int{70, 80})

	var marks []string
	err := s.MarksBetween(t.Context(), at(0), at(1000), func(m catalogue.Mark) error {
		marks = append(marks, fmt.Sprint(m.Time.Sub(testStart).Seconds(), " ", m.Kind, ": ", m.Text))
		return nil
	})
	want := []string{
		"10 start: wayside started", "20 stop: wayside ended without a shutdown", "50 start: wayside started", "70 stop: wayside stopped", "80 start: wayside started",
	}
	if diff := cmp.Diff(want, marks); err != nil || diff != "" {
		t.Errorf("marks: %v %s", err, diff)
	}
}

// TestMarks: no two marks have the same time, a mark beyond the limit replaces the oldest, and a mark is a sign of
// life.
func TestMarks(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	if err := s.NoteRun(uuid.UUID{1}, testStart, testStart); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m, err := s.AddMark(catalogue.Mark{Time: testStart.Add(time.Second), Kind: catalogue.MarkNote, Text: fmt.Sprint(i)})
		if want := testStart.Add(time.Second + time.Duration(i)*time.Microsecond); err != nil || !m.Time.Equal(want) {
			t.Errorf("mark %d at %s, want %s, %v", i, m.Time, want, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if n := s.MarkLog.count; n != 4 {
		t.Fatalf("%d marks after a restart, want 4", n)
	}
	if gaps := s.Gaps(testStart, testStart.Add(time.Minute)); len(gaps) != 1 || gaps[0].From.Sub(testStart) != time.Second+2*time.Microsecond {
		t.Errorf("gaps: %v", gaps)
	}
	s.MarkLog.count = MarksMax // pretends that there are that many
	if _, err := s.AddMark(catalogue.Mark{Time: testStart.Add(time.Minute), Kind: catalogue.MarkNote, Text: "last"}); err != nil {
		t.Fatal(err)
	}
	var texts []string
	if err := s.MarksBetween(t.Context(), testStart, testStart.Add(time.Hour), func(m catalogue.Mark) error { texts = append(texts, m.Text); return nil }); err != nil {
		t.Fatal(err)
	}
	latest := s.LatestMarks()
	if len(latest) != 2 || latest[0].Kind != catalogue.MarkNote || latest[0].Text != "last" || latest[1].Kind != catalogue.MarkStart {
		t.Errorf("the latest marks: %+v", latest)
	}
	if want := []string{"0", "1", "2", "last"}; s.MarkLog.count != MarksMax || !cmp.Equal(texts, want) {
		t.Errorf("%d marks, %q, want %q", s.MarkLog.count, texts, want)
	}
}

// TestRunsAreBounded: beyond the limit, the oldest run is forgotten, and the time before the next one counts as
// recorded.
func TestRunsAreBounded(t *testing.T) {
	s := openStore(t, testOptions(t.TempDir()))
	s.Runs.list = make([]run, runsMax)
	for i := range s.Runs.list {
		s.Runs.list[i] = run{epoch: uuid.UUID{2, byte(i), byte(i >> 8)}, from: int64(10 * i), to: int64(10*i + 5), ended: true}
	}
	began := time.UnixMicro(10 * runsMax)
	if err := s.NoteRun(uuid.UUID{1}, began, began); err != nil {
		t.Fatal(err)
	}
	if n, gaps := len(s.Runs.list), s.Gaps(time.UnixMicro(0), time.UnixMicro(30)); n != runsMax || len(gaps) != 2 || gaps[0].From.UnixMicro() != 15 {
		t.Errorf("%d runs, gaps %v", n, gaps)
	}
}

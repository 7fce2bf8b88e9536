package uploader

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestMissedRunsAreMadeUpForOnce starts and stops the loop as processes would. A single run replaces those that were
// due in between, and a job that has already run does not run again.
func TestMissedRunsAreMadeUpForOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	synctest.Test(t, func(t *testing.T) { // begins 2000-01-01T00:00Z
		target, err := newDirTarget(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		m := newMemStore(t)
		var ran []string
		var fail error
		run := func(d time.Duration) {
			u, _ := newTest(t, m, target, func(o *Options) {
				o.Now, o.Memory = time.Now, m
				o.Jobs = []Job{{Name: "report", Schedule: "0 * * * *", Run: func(context.Context, *Result) error {
					ran = append(ran, time.Now().UTC().Format("15:04"))
					return fail
				}}}
			})
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := u.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		want := func(times ...string) {
			t.Helper()
			if !slices.Equal(ran, times) {
				t.Fatalf("ran at %v, want %v", ran, times)
			}
			ran = nil
		}
		time.Sleep(30 * time.Minute)
		run(10 * time.Minute) // a job that has never run waits for its time
		want()
		run(50 * time.Minute) // until 01:30
		want("01:00")
		time.Sleep(2*time.Hour + 45*time.Minute) // not running at 02:00, 03:00 and 04:00
		run(15 * time.Minute)                    // from 04:15
		want("04:15")
		run(20 * time.Minute) // until 04:50
		want()
		fail = errors.New("not now")
		run(10*time.Minute + 100*time.Millisecond)
		want("05:00")
		fail = nil
		run(time.Minute) // a failed job stays due until it succeeds
		want("05:00")
		run(58 * time.Minute)
		want()
		run(2 * time.Minute)
		want("06:00")
		state := m.jobs["report"]
		if state.Runs != 5 || state.Failures != 1 || len(state.Recent) != 5 || state.Recent[2].Error == "" {
			t.Errorf("remembered is %+v", state)
		}
	})
}

// TestDenseRunsKeepMemory: runs that follow each other within a minute reuse the builder while there is something to archive.
func TestDenseRunsKeepMemory(t *testing.T) {
	for schedule, dense := range map[string]bool{"@every 1s": true, "@every 1m": false, "0 * * * *": false} {
		m := newMemStore(t)
		p := directory(t)
		u, _ := newTest(t, m, p.Target, func(o *Options) { o.ArchiveSchedule = schedule })
		var items []memItem
		for i := range 3 {
			more := traffic(600-200*i, testHour.Add(time.Duration(i)*time.Second), uint64(len(items)+1), false)
			m.apply(testEpoch, testHour, 250, more...)
			items = append(items, more...)
			if _, err := u.ArchiveOnce(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			if kept := u.archiver.builder != nil; kept != dense {
				t.Errorf("%s: after run %d, the memory is kept: %v", schedule, i, kept)
			}
		}
		wantArchived(t, p, items)
		if _, err := u.ArchiveOnce(t.Context(), true); err != nil || u.archiver.builder != nil {
			t.Errorf("%s: the memory is kept after a run without events, %v", schedule, err)
		}
	}
}

func TestObjectsExpireAndStatisticsStay(t *testing.T) {
	ctx := context.Background()
	m := newMemStore(t)
	items := plainEvents(300, testHour, 1)
	m.apply(testEpoch, testHour, 100, items...)
	p := directory(t)
	u, clk := newTest(t, m, p.Target, func(o *Options) { o.Expire = 30 * 24 * time.Hour })
	archived, err := u.ArchiveOnce(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	clk.advance(29 * 24 * time.Hour)
	if r, err := u.CleanOnce(ctx); err != nil || r.Objects != archived.Objects || r.Expired != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	wantArchived(t, p, items)
	clk.advance(3 * 24 * time.Hour)
	if r, err := u.CleanOnce(ctx); err != nil || r.Expired != archived.Objects {
		t.Fatalf("%+v, %v", r, err)
	}
	wantKeys(t, p, EventsPrefix)
	wantStatistics(t, p, items)
	if plan := m.plan(0); plan.ExpiredAt.IsZero() {
		t.Error("the catalogue does not say that the object has expired")
	}
	if r, err := u.CleanOnce(ctx); err != nil || r.Expired != 0 {
		t.Fatalf("a second time: %+v, %v", r, err)
	}
}

// TestClockJumpsExpireNothing moves the wall clock by a year in both directions and over the end of summer time, and
// starts and stops processes. Objects expire when their time has passed, and not before.
func TestClockJumpsExpireNothing(t *testing.T) {
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	for name, jump := range map[string]time.Duration{"a year ahead": year, "a year back": -year, "an hour back": -time.Hour, "none": 0} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			m := newMemStore(t)
			items := plainEvents(300, testHour, 1)
			m.apply(testEpoch, testHour, 100, items...)
			p := directory(t)
			u, clk := newTest(t, m, p.Target, nil)
			options := u.o
			options.Expire, options.Memory = 30*day, m
			process := func() *Uploader {
				u, err := New(options)
				if err != nil {
					t.Fatal(err)
				}
				return u
			}
			u = process()
			archived, err := u.ArchiveOnce(ctx, true)
			if err != nil {
				t.Fatal(err)
			}
			expired := func() (n int) {
				t.Helper()
				r, err := u.CleanOnce(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return r.Expired
			}
			clk.advance(day)
			clk.jump(jump)
			for range 28 {
				if n := expired(); n != 0 {
					t.Fatalf("%d objects expired early", n)
				}
				clk.advance(day)
				u.uptime.save()
				clk.advance(time.Second) // this second is lost, because the process is killed
				u = process()
			}
			if n := expired(); n != 0 {
				t.Fatalf("%d objects expired after 29 days", n)
			}
			wantArchived(t, p, items)
			clk.jump(-jump)
			clk.advance(2*day - time.Hour)
			if n := expired(); n != archived.Objects {
				t.Errorf("%d of %d objects expired when their time had passed", n, archived.Objects)
			}
		})
	}
}

// TestEventsOfAFastClockAreDeleted archives while the clock is a year ahead, after which the clock is corrected. The
// local events are deleted when their time has passed, not a year later.
func TestEventsOfAFastClockAreDeleted(t *testing.T) {
	const year = 365 * 24 * time.Hour
	ctx := t.Context()
	m := newMemStore(t)
	m.apply(testEpoch, testHour.Add(year), 100, plainEvents(300, testHour.Add(year), 1)...)
	u, clk := newTest(t, m, directory(t).Target, nil)
	clk.jump(year)
	archived, err := u.ArchiveOnce(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	clk.jump(-year)
	clk.advance(71 * time.Hour)
	if r, err := u.CleanOnce(ctx); err != nil || r.Objects != 0 {
		t.Fatalf("deleted early: %+v, %v", r, err)
	}
	clk.advance(2 * time.Hour)
	if r, err := u.CleanOnce(ctx); err != nil || r.Objects != archived.Objects {
		t.Fatalf("kept: %+v, %v", r, err)
	}
}

func TestExpiryNeedsATargetThatCanDelete(t *testing.T) {
	target, err := OpenTarget(context.Background(), "s3://bucket", TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := newMemStore(t)
	if _, err := New(Options{Source: m, Catalogue: m, Target: target, Expire: time.Hour}); err == nil {
		t.Error("a bucket's objects would be deleted")
	}
}

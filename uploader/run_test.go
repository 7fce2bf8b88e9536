package uploader

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOptionsAreChecked(t *testing.T) {
	m := newMemStore(t)
	for name, change := range map[string]func(*Options){
		"no target":          func(o *Options) { o.Target = nil },
		"unknown field":      func(o *Options) { o.Fields = []string{"shoe_size"} },
		"needed field":       func(o *Options) { o.Omit = []string{"url_template"} },
		"archive schedule":   func(o *Options) { o.ArchiveSchedule = "often" },
		"retention schedule": func(o *Options) { o.RetentionSchedule = "@every 0s" },
	} {
		o := Options{Source: m, Catalogue: m, Target: directory(t).Target}
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestRunBySchedule runs in fake time: first both jobs by their schedules, then a target that is unavailable for a day.
func TestRunBySchedule(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	synctest.Test(t, func(t *testing.T) {
		target, err := newDirTarget(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		var away atomic.Bool
		var puts atomic.Int64
		f := &faulty{Target: target, put: func(key string) error {
			if strings.HasSuffix(key, objectSuffix) {
				puts.Add(1)
			}
			if away.Load() {
				return errors.New("the target is away")
			}
			return nil
		}}
		m := newMemStore(t)
		u, _ := newTest(t, m, f, func(o *Options) {
			o.Now, o.After, o.RetentionEvents = time.Now, time.Hour, 72*time.Hour
		})
		seq := uint64(1)
		apply := func() {
			m.apply(testEpoch, time.Now(), 100, plainEvents(10, time.Now(), seq)...)
			seq += 10
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		apply()
		go func() { done <- u.Run(ctx) }()
		synctest.Wait()
		if s := u.Status(); s.ArchivedRows != 0 || s.PendingEvents != 10 {
			t.Fatalf("events are archived before their time: %+v", s)
		}
		time.Sleep(61 * time.Minute) // the hour after the events were an hour old
		synctest.Wait()
		if s := u.Status(); s.ArchivedRows != 10 || s.Jobs[JobArchive].NextTry.Minute() != 0 || !s.Jobs[JobArchive].NextTry.After(time.Now()) {
			t.Fatalf("status is %+v", s)
		}

		away.Store(true)
		apply()
		puts.Store(0)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		s := u.Status()
		// Pauses double up to five minutes, which gives about 280 attempts in 22 hours, rather than 24 or 80,000.
		if n := puts.Load(); n < 200 || n > 600 || s.Jobs[JobArchive].ConsecutiveFailures < int(n) || s.OpenPlans != 1 {
			t.Fatalf("%d attempts in a day, status %+v", n, s)
		}
		away.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s := u.Status(); s.ArchivedRows != 20 || s.Jobs[JobArchive].ConsecutiveFailures != 0 || s.Jobs[JobArchive].LastError != "" {
			t.Fatalf("not caught up: %+v", s)
		}
		if s := u.Status(); s.DeletedRows != 0 {
			t.Fatalf("deleted early: %+v", s)
		}
		time.Sleep(96 * time.Hour)
		synctest.Wait()
		if s := u.Status(); s.DeletedRows != 20 || m.blocksLeft() != 0 {
			t.Fatalf("retention has not deleted: %+v", s)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("run ended with %v", err)
		}
	})
}

func TestRunSeesTheClockJump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	synctest.Test(t, func(t *testing.T) {
		target, err := newDirTarget(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		var offset atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		m := newMemStore(t)
		u, _ := newTest(t, m, target, func(o *Options) { o.Now = now })
		offset.Store(int64(10 * 365 * 24 * time.Hour)) // the clock starts years ahead
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- u.Run(ctx) }()
		synctest.Wait()
		m.apply(testEpoch, now(), 100, plainEvents(10, now(), 1)...)
		offset.Store(0)
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		if s := u.Status(); s.ArchivedRows != 10 {
			t.Fatalf("after the clock went back: %+v", s)
		}
		cancel()
		<-done
	})
}

func TestShutdownArchivesTheOpenHourAndTriesAgain(t *testing.T) {
	m := newMemStore(t)
	p := directory(t)
	left := 2
	f := &faulty{Target: p.Target, put: func(string) error {
		if left--; left >= 0 {
			return errors.New("not now")
		}
		return nil
	}}
	u, clk := newTest(t, m, f, nil)
	items := plainEvents(10, clk.Now(), 1)
	m.apply(testEpoch, clk.Now(), 100, items...)
	first, cancelFirst := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancelFirst()
	r, err := u.Shutdown(first)
	if err != nil || r.Rows != 10 {
		t.Fatalf("result is %+v, %v", r, err)
	}
	wantArchived(t, p, items)
}

func TestJobsNeverOverlap(t *testing.T) {
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 100, plainEvents(10, testHour, 1)...)
	inside, goOn := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() {
		close(inside)
		<-goOn
	})
	f := &faulty{Target: directory(t).Target, after: func(string) { hold() }}
	u, _ := newTest(t, m, f, nil)
	first := make(chan error, 1)
	go func() {
		_, err := u.ArchiveOnce(context.Background(), true)
		first <- err
	}()
	<-inside
	if !u.Status().Jobs[JobArchive].Running {
		t.Error("status does not show the running job")
	}
	ctx, cancel := context.WithCancel(context.Background())
	second := make(chan error, 1)
	go func() {
		_, err := u.CleanOnce(ctx)
		second <- err
	}()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Fatalf("a job begins while another runs: %v", err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if u.Status().Jobs[JobClean].ConsecutiveFailures != 0 {
		t.Error("giving up on waiting counts as a failure")
	}
}

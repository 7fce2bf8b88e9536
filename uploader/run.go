package uploader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// wakeInterval is the interval at which Run compares the next due time with the clock. A timer alone would not react to a change of the
// clock.
const wakeInterval = time.Minute

// Run executes all jobs according to their schedules, one at a time, until ctx is done. It returns ctx's error.
//
// A single run makes up for all runs that were missed while no process was running, because a job does everything that is pending. The
// archive job and the clean job run immediately if they have never run before; the archive job also does so if a plan is open. A failed
// job is retried with increasing pauses, forever. In parallel, Run tests the archive until a test succeeds.
func (u *Uploader) Run(ctx context.Context) error {
	timers, err := u.newTimers(ctx)
	if err != nil {
		return err
	}
	var probing sync.WaitGroup
	defer probing.Wait()
	probing.Go(func() { u.prober.untilUsable(ctx) })
	last := u.o.Now()
	for {
		now := u.o.Now()
		if now.Before(last.Add(-wakeInterval)) {
			// The clock was set back. Due times that were computed earlier may be years ahead.
			for _, t := range timers {
				t.reschedule(now)
			}
		}
		last = now
		first := now.Add(wakeInterval)
		for _, t := range timers {
			if started := u.o.Now(); !started.Before(t.due) && ctx.Err() == nil {
				r, err := t.run(ctx)
				t.done(started, r, err)
			}
			if t.due.Before(first) {
				first = t.due
			}
		}
		if err := sleep(ctx, min(first.Sub(u.o.Now()), wakeInterval)); err != nil {
			return err
		}
	}
}

// timer determines when a job is due. Only Run uses it.
type timer struct {
	*common
	job   string
	at    schedule
	run   func(context.Context) (Result, error)
	pause *backoff.ExponentialBackOff
	due   time.Time
	state catalogue.JobState
}

// newTimers creates the timers and sets their due times from the stored results of earlier runs.
func (u *Uploader) newTimers(ctx context.Context) ([]*timer, error) {
	timers := []*timer{
		{job: JobArchive, at: u.archiveAt, run: u.archiveDue},
		{job: JobClean, at: u.cleanAt, run: u.CleanOnce},
	}
	for i, job := range u.o.Jobs {
		timers = append(timers, &timer{job: job.Name, at: u.jobsAt[i], run: func(ctx context.Context) (Result, error) { return u.RunJob(ctx, job.Name) }})
	}
	now := u.o.Now()
	for i, t := range timers {
		t.common, t.pause = u.common, u.newPause()
		var err error
		if t.state, err = u.o.Memory.Job(t.job); err != nil {
			return nil, fmt.Errorf("read the results of the %s job: %w", t.job, err)
		}
		switch {
		case t.state.Served.IsZero() && i < 2:
			t.set(now)
		case t.state.Served.IsZero(), t.state.Served.After(now.Add(futureTolerance)): // the job has never run, or the clock was ahead
			t.set(t.at.next(now))
		default:
			t.set(t.at.next(t.state.Served))
		}
	}
	open, err := u.plansWhere(ctx, catalogue.Planned, nil)
	if len(open) > 0 {
		timers[0].set(now)
	}
	return timers, err
}

// store stores the result durably, except for a job that runs every few seconds and had nothing to do.
func (t *timer) store(r Result, err error) {
	idle := err == nil && t.at.dense() && r.Objects == 0 && t.state.Runs > 0
	t.state.Add(catalogue.JobRun{
		Started: r.Started, Duration: r.Duration, Objects: r.Objects, Rows: r.Rows, Bytes: r.Bytes, Error: r.Error,
	})
	if idle {
		return
	}
	if err := t.o.Memory.SetJob(t.job, t.state); err != nil {
		// At worst, the job runs one additional time after a restart and has nothing to do.
		t.o.Logger.Warn("cannot store the result of a job; after a restart, the job may run once more than necessary", "job", t.job, "error", err)
	}
}

func (t *timer) reschedule(now time.Time) {
	if next := t.at.next(now); next.Before(t.due) {
		t.set(next)
	}
}

func (t *timer) set(due time.Time) {
	t.due = due
	t.status.changeJob(t.job, func(s *JobStatus) { s.NextTry = due })
}

func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

package uploader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// wakeInterval is how often Run compares its next due time with the clock: a timer alone would not see the clock jump.
const wakeInterval = time.Minute

// Run executes all jobs by their schedules until ctx is done, one at a time. What was due while nothing ran is made up for
// by one run: every job looks at what there is to do, not at when it should have been done. A job that has never run, of
// those that come with the uploader, runs at once, and so does the archive where a plan was left open. A failed job is
// tried again with growing pauses, for ever. Beside the jobs, the archive is tried until it works (see [Uploader.Probe]). Run returns
// ctx's error.
func (u *Uploader) Run(ctx context.Context) error {
	timers, err := u.newTimers(ctx)
	if err != nil {
		return err
	}
	var probing sync.WaitGroup
	defer probing.Wait()
	probing.Go(func() { u.keepProbing(ctx) })
	last := u.o.Now()
	for {
		now := u.o.Now()
		if now.Before(last.Add(-wakeInterval)) {
			// The clock went back: times that were computed before it may be years away.
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

// newTimers sets each job's next time by what is remembered of it.
func (u *Uploader) newTimers(ctx context.Context) ([]*timer, error) {
	timers := []*timer{
		u.newTimer(jobArchive, u.archiveAt, u.archiveDue),
		u.newTimer(jobClean, u.cleanAt, u.CleanOnce),
	}
	for i := range u.o.Jobs {
		name := u.o.Jobs[i].Name
		timers = append(timers, u.newTimer(name, u.jobsAt[i], func(ctx context.Context) (Result, error) { return u.RunJob(ctx, name) }))
	}
	now := u.o.Now()
	for i, t := range timers {
		state, err := u.o.Memory.Job(t.job)
		if err != nil {
			return nil, fmt.Errorf("what is remembered of the %s job: %w", t.job, err)
		}
		t.state = state
		switch {
		case state.Served.IsZero() && i < 2:
			t.set(now)
		case state.Served.IsZero(), state.Served.After(now.Add(futureTolerance)): // never run, or the clock was ahead
			t.set(t.at.next(now))
		default:
			t.set(t.at.next(state.Served))
		}
	}
	open, err := u.openPlans(ctx)
	if err != nil {
		return nil, err
	}
	if len(open) > 0 {
		timers[0].set(now)
	}
	return timers, nil
}

// Job is a job that runs by the uploader's clock beside its own two.
type Job struct {
	Name     string // not "archive" or "clean"
	Schedule string
	// Run does the work. It may fill in what the result says; times and error are added.
	Run func(context.Context, *Result) error
}

// RunJob runs one of [Options.Jobs] now. It waits for a job that is running.
func (u *Uploader) RunJob(ctx context.Context, name string) (Result, error) {
	for i := range u.o.Jobs {
		if u.o.Jobs[i].Name == name {
			return u.runJob(ctx, name, u.o.Jobs[i].Run)
		}
	}
	return Result{Job: name}, fmt.Errorf("no job %q", name)
}

// Alone calls fn while no job runs. It waits for a job that is running.
func (u *Uploader) Alone(ctx context.Context, fn func() error) error {
	select {
	case <-u.job:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { u.job <- struct{}{} }()
	return fn()
}

func (r *Result) add(o *Result) {
	if r.Job == "" {
		r.Job, r.Started = o.Job, o.Started
	}
	r.Duration += o.Duration
	r.Resumed += o.Resumed
	r.Objects += o.Objects
	r.Rows += o.Rows
	r.Lines += o.Lines
	r.RawBytes += o.RawBytes
	r.Bytes += o.Bytes
	r.Kept += o.Kept
	r.Expired += o.Expired
	r.Error = o.Error
}

// timer knows when a job is due. Owned by Run.
type timer struct {
	u     *Uploader
	job   string
	at    schedule
	run   func(context.Context) (Result, error)
	pause *backoff.ExponentialBackOff
	due   time.Time
	state catalogue.JobState
}

func (u *Uploader) newTimer(job string, at schedule, run func(context.Context) (Result, error)) *timer {
	p := backoff.NewExponentialBackOff()
	p.InitialInterval, p.MaxInterval, p.Multiplier = u.o.BackoffMin, u.o.BackoffMax, 2
	p.Reset()
	return &timer{u: u, job: job, at: at, run: run, pause: p}
}

// done sets the next time: by schedule after success, after a pause otherwise. What was served is the time at which the
// run began, so that what came due meanwhile is due at once. A job that waits for the target is not helped by a schedule
// that is denser than the pauses.
func (t *timer) done(started time.Time, r Result, err error) {
	if errors.Is(err, context.Canceled) {
		return // somebody's wish: still due, also after a restart
	}
	if err == nil {
		t.pause.Reset()
		t.state.Served = started.UTC()
		t.set(t.at.next(started))
	} else {
		wait := t.pause.NextBackOff()
		t.set(t.u.o.Now().Add(wait))
		t.u.o.Logger.Warn("job failed, trying again", "job", t.job, "error", r.Error, "wait", wait.Round(time.Millisecond))
	}
	t.remember(r, err)
}

// remember keeps the outcome durably. A job that runs every few seconds and finds nothing to do is not worth a write.
func (t *timer) remember(r Result, err error) {
	idle := err == nil && t.at.every > 0 && t.at.every < time.Minute && r.Objects == 0 && t.state.Runs > 0
	t.state.Add(catalogue.JobRun{
		Started: r.Started, Duration: r.Duration, Objects: r.Objects, Rows: r.Rows, Bytes: r.Bytes, Error: r.Error,
	})
	if idle {
		return
	}
	if err := t.u.o.Memory.SetJob(t.job, t.state); err != nil {
		// The worst that follows is a run that finds nothing to do.
		t.u.o.Logger.Warn("the outcome of a job was not remembered", "job", t.job, "error", err)
	}
}

func (t *timer) reschedule(now time.Time) {
	if next := t.at.next(now); next.Before(t.due) {
		t.set(next)
	}
}

func (t *timer) set(due time.Time) {
	t.due = due
	t.u.noteNext(t.job, due)
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

package uploader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// wakeInterval is how often Run compares its next due time with the clock: a timer alone would not see the clock jump.
const wakeInterval = time.Minute

// Run executes both jobs now and then by their schedules until ctx is done, one at a time. A failed job is tried again
// with growing pauses, for ever. Run returns ctx's error.
func (u *Uploader) Run(ctx context.Context) error {
	archive := u.newTimer(jobArchive, u.archiveAt)
	clean := u.newTimer(jobClean, u.cleanAt)
	last := u.o.Now()
	for {
		now := u.o.Now()
		if now.Before(last.Add(-wakeInterval)) {
			// The clock went back: times that were computed before it may be years away.
			archive.reschedule(now)
			clean.reschedule(now)
		}
		last = now
		if !now.Before(archive.due) {
			_, err := u.ArchiveOnce(ctx, false)
			archive.done(err)
		}
		if !u.o.Now().Before(clean.due) && ctx.Err() == nil {
			_, err := u.CleanOnce(ctx)
			clean.done(err)
		}
		first := archive.due
		if clean.due.Before(first) {
			first = clean.due
		}
		if err := sleep(ctx, min(first.Sub(u.o.Now()), wakeInterval)); err != nil {
			return err
		}
	}
}

// Shutdown archives everything that is applied, the open hour included, trying again until it succeeds or ctx is done. Run
// must have returned, and nothing more should be applied.
func (u *Uploader) Shutdown(ctx context.Context) (Result, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 2*time.Second
	var total Result
	for {
		r, err := u.ArchiveOnce(ctx, true)
		total.add(&r)
		if err == nil {
			return total, nil
		}
		if serr := sleep(ctx, pause.NextBackOff()); serr != nil {
			return total, fmt.Errorf("archive at shutdown: %w", errors.Join(err, serr))
		}
	}
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
	r.Error = o.Error
}

// timer knows when a job is due. Owned by Run.
type timer struct {
	u     *Uploader
	job   string
	at    schedule
	pause *backoff.ExponentialBackOff
	due   time.Time
}

func (u *Uploader) newTimer(job string, at schedule) *timer {
	p := backoff.NewExponentialBackOff()
	p.InitialInterval, p.MaxInterval, p.Multiplier = u.o.BackoffMin, u.o.BackoffMax, 2
	p.Reset()
	t := &timer{u: u, job: job, at: at, pause: p}
	t.set(u.o.Now())
	return t
}

// done sets the next time: by schedule after success, after a pause otherwise. A job that waits for the checkpoint or for
// the target is not helped by a schedule that is denser than the pauses.
func (t *timer) done(err error) {
	now := t.u.o.Now()
	if err == nil {
		t.pause.Reset()
		t.set(t.at.next(now))
		return
	}
	wait := t.pause.NextBackOff()
	t.set(now.Add(wait))
	if !errors.Is(err, context.Canceled) {
		t.u.o.Logger.Warn("job failed, trying again", "job", t.job, "error", err, "wait", wait.Round(time.Millisecond))
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

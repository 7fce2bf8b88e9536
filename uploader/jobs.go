package uploader

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Result describes what one run of a job did. It includes everything that succeeded before a failure.
type Result struct {
	Job      string // "archive", "clean", or one of Options.Jobs
	Started  time.Time
	Duration time.Duration
	Resumed  int // objects that an earlier run had planned
	Objects  int // objects that were archived and verified, or whose events were deleted locally
	Rows     uint64
	Lines    uint64
	RawBytes uint64 // size of the NDJSON
	Bytes    uint64 // compressed size
	Expired  int    // clean: objects removed from the archive
	Kept     int    // clean: objects whose events were due for deletion but were kept, because the archived copy was not as expected
	Error    string
}

// Job is a job that [Uploader.Run] runs in addition to the archive job and the clean job.
type Job struct {
	Name     string // not "archive" or "clean"
	Schedule string
	// Run does the work. It may fill in the counts of the result.
	Run func(context.Context, *Result) error
}

// Alone calls fn while no job is running. If a job is running, it first waits for that job to end.
func (u *Uploader) Alone(ctx context.Context, fn func() error) error {
	select {
	case <-u.token:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { u.token <- struct{}{} }()
	return fn()
}

// runJob runs one job while no other job is running, and records the result.
func (u *Uploader) runJob(ctx context.Context, job string, fn func(context.Context, *Result) error) (Result, error) {
	r := Result{Job: job}
	err := u.Alone(ctx, func() error {
		r.Started = u.o.Now().UTC()
		u.status.changeJob(job, func(s *JobStatus) { s.Running = true })
		err := fn(ctx, &r)
		u.uptime.save()
		now := u.o.Now().UTC()
		r.Duration = max(now.Sub(r.Started), 0)
		if err != nil {
			r.Error = printable(err.Error(), errorBytesMax)
		}
		u.status.changeJob(job, func(s *JobStatus) { s.finish(r, err, now) })
		return err
	})
	if r.Objects+r.Expired > 0 {
		u.o.Logger.Info("job done", "job", job, "objects", r.Objects, "rows", r.Rows, "bytes", r.Bytes, "kept", r.Kept, "expired", r.Expired, "duration", r.Duration)
	}
	return r, err
}

// RunJob runs one of [Options.Jobs] now. If a job is running, it first waits for that job to end.
func (u *Uploader) RunJob(ctx context.Context, name string) (Result, error) {
	for i := range u.o.Jobs {
		if u.o.Jobs[i].Name == name {
			return u.runJob(ctx, name, u.o.Jobs[i].Run)
		}
	}
	return Result{Job: name}, fmt.Errorf("no job %q", name)
}

// ArchiveOnce finishes the open plans and then archives all applied events that are in no plan yet and are old enough (or of any age, if
// all is set). If a job is running, it waits for that job to end. It stops at the first error of the target, and skips plans that fail
// for other reasons. The next run does the rest.
func (u *Uploader) ArchiveOnce(ctx context.Context, all bool) (Result, error) {
	return u.runJob(ctx, JobArchive, func(ctx context.Context, r *Result) error { return u.archiver.run(ctx, r, all) })
}

// ArchiveNow is like ArchiveOnce, but if the archive cannot be used, it fails even if there is nothing to archive.
func (u *Uploader) ArchiveNow(ctx context.Context, all bool) (Result, error) {
	return u.runJob(ctx, JobArchive, func(ctx context.Context, r *Result) error {
		if err := u.prober.try(ctx); err != nil {
			return err
		}
		return u.archiver.run(ctx, r, all)
	})
}

// archiveDue runs ArchiveOnce when it is due. If there is nothing to archive, it tests the archive (at most once per
// probeInterval while the archive works), and fails if the archive cannot be used.
func (u *Uploader) archiveDue(ctx context.Context) (Result, error) {
	return u.runJob(ctx, JobArchive, func(ctx context.Context, r *Result) error {
		err := u.archiver.run(ctx, r, false)
		now := u.o.Elapsed()
		switch {
		case err != nil:
			u.answered = 0
		case r.Objects > 0:
			u.answered = now
		case u.answered == 0 || now-u.answered >= probeInterval:
			if err = u.prober.try(ctx); err == nil {
				u.answered = now
			}
		}
		return err
	})
}

// CleanOnce deletes local events that are verified in the archive and older than the retention, and removes expired objects from the
// archive. Each object is looked up immediately before its events are deleted. If the object is not as expected, its events are kept, and
// the run continues with the next plan; an unreachable target ends the run. CleanOnce waits for a running job.
func (u *Uploader) CleanOnce(ctx context.Context) (Result, error) {
	return u.runJob(ctx, JobClean, u.retention.run)
}

// shutdownPatience is the maximum time that Shutdown waits for a failing archive to work again.
const shutdownPatience = 5 * time.Second

// Shutdown archives everything that is applied, including the current hour, until it has finished or ctx is done. If the archive fails,
// or was already failing, Shutdown waits a few seconds for it to recover. If the archive does not recover, the remaining events stay in
// the data directory. Run must have returned, and nothing more may be applied.
func (u *Uploader) Shutdown(ctx context.Context) (Result, error) {
	var total Result
	var err error
	worked := u.o.Elapsed() // when the archive last worked
	s := u.Status()
	for failing := s.Jobs[JobArchive].ConsecutiveFailures > 0 || s.Unusable != ""; ; failing = true {
		if failing {
			if probed := u.prober.await(ctx, shutdownPatience-(u.o.Elapsed()-worked)); probed != nil {
				return total, fmt.Errorf("archive at shutdown: %w", errors.Join(err, probed))
			}
		}
		var r Result
		r, err = u.ArchiveOnce(ctx, true)
		total.add(&r)
		switch {
		case err == nil:
			return total, nil
		case ctx.Err() != nil:
			return total, fmt.Errorf("archive at shutdown: %w", errors.Join(err, ctx.Err()))
		case r.Objects > 0 || !failing:
			worked = u.o.Elapsed()
		case u.o.Elapsed()-worked >= shutdownPatience: // the test succeeds, but no object is accepted
			return total, fmt.Errorf("archive at shutdown: %w", err)
		}
		_ = sleep(ctx, shutdownPatience/20) // the loop checks ctx
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
	r.Error = o.Error
}

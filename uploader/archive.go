package uploader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// Result is what one run of a job did. Counts cover what succeeded, whether or not the job failed afterwards.
type Result struct {
	Job      string        `json:"job"` // "archive", "clean", or one of Options.Jobs
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Resumed  int           `json:"resumed"` // objects whose plan was left over from an earlier run
	Objects  int           `json:"objects"` // archived and verified, or deleted locally
	Rows     uint64        `json:"rows"`
	Lines    uint64        `json:"lines"`
	RawBytes uint64        `json:"raw_bytes"`    // NDJSON
	Bytes    uint64        `json:"object_bytes"` // compressed
	Expired  int           `json:"expired"`      // clean: objects removed from the archive
	Kept     int           `json:"kept"`         // clean: due for deletion and kept, because something was not as it should be
	Error    string        `json:"error,omitempty"`
}

// ArchiveOnce finishes the plans that are open and then archives everything that is applied, not planned and old enough;
// with all, however old. It waits for a job that is running. It stops at the first error of the target and goes on past
// a plan whose own content is the trouble; what is not done stays for the next run.
func (u *Uploader) ArchiveOnce(ctx context.Context, all bool) (Result, error) {
	return u.runJob(ctx, jobArchive, func(ctx context.Context, r *Result) error { return u.archive(ctx, r, all) })
}

// ArchiveNow is ArchiveOnce for somebody who waits for the outcome: it fails if the archive cannot be used, also when there is
// nothing to archive.
func (u *Uploader) ArchiveNow(ctx context.Context, all bool) (Result, error) {
	return u.runJob(ctx, jobArchive, func(ctx context.Context, r *Result) error {
		if err := u.Probe(ctx); err != nil {
			return err
		}
		return u.archive(ctx, r, all)
	})
}

// archiveDue is ArchiveOnce by schedule. A run that has nothing to archive succeeds only if the archive can be used, which is
// looked at now and then.
func (u *Uploader) archiveDue(ctx context.Context) (Result, error) {
	return u.runJob(ctx, jobArchive, func(ctx context.Context, r *Result) error {
		err := u.archive(ctx, r, false)
		now := u.o.Elapsed()
		switch {
		case err != nil:
			u.answered = 0
		case r.Objects > 0:
			u.answered = now
		case u.answered == 0 || now-u.answered >= probeInterval:
			if err = u.Probe(ctx); err == nil {
				u.answered = now
			}
		}
		return err
	})
}

func (u *Uploader) archive(ctx context.Context, r *Result, all bool) error {
	// The memory for building objects is only held while the job runs.
	u.builder = newBuilder()
	u.silent = map[string]bool{}
	defer func() {
		u.builder.body.release()
		u.builder, u.holdings = nil, nil
	}()

	open, err := u.openPlans(ctx)
	if err != nil {
		return err
	}
	u.noteOpen(len(open))
	if _, err := u.pending(ctx); err != nil {
		return err
	}
	var failed []error
	for _, p := range open {
		switch err := u.execute(ctx, p, r); {
		case err == nil:
			r.Resumed++
		case stops(err):
			return errors.Join(append(failed, err)...)
		default:
			failed = append(failed, err)
		}
	}
	for {
		plans, err := u.nextPlans(ctx, all)
		if err != nil || len(plans) == 0 {
			return errors.Join(append(failed, err)...)
		}
		cutAt := u.estimate.current()
		for _, p := range plans {
			if err := u.archivePlan(ctx, p, r); err != nil {
				failed = append(failed, err)
				if stops(err) {
					return errors.Join(failed...)
				}
			}
			if u.estimate.current() > cutAt {
				break // the others would be larger than they are to be: they are cut again, see estimate
			}
		}
	}
}

// archivePlan stores a new plan and executes it. What the store has accepted is no longer pending, whether or not the
// execution succeeds, which is why asking for more plans comes to an end.
func (u *Uploader) archivePlan(ctx context.Context, p *catalogue.Plan, r *Result) error {
	crash.Point("uploader.plan.before")
	if err := u.o.Catalogue.AddPlan(ctx, p); err != nil {
		return &stopError{fmt.Errorf("store the plan of %s: %w", p.Key, err)}
	}
	crash.Point("uploader.plan.after")
	u.notePlanned(p)
	return u.execute(ctx, p, r)
}

// nextPlans cuts what the store lists as pending. The store is first asked for what is old enough, because its list is
// limited, and then for everything, which shows blocks from a time when the clock was ahead.
func (u *Uploader) nextPlans(ctx context.Context, all bool) ([]*catalogue.Plan, error) {
	now := u.o.Now()
	pl := planner{u.o.Service, u.o.Instance, u.o.Fields, u.o.ObjectBytes, u.o.After, &u.estimate, u.o.Target.Name()}
	if !all {
		old, err := u.unheld(ctx, now.Add(-u.o.After+time.Microsecond))
		if err != nil {
			return nil, err
		}
		if plans := pl.cut(old, now, false); len(plans) > 0 {
			return plans, nil
		}
	}
	pending, err := u.unheld(ctx, farFuture)
	if err != nil {
		return nil, err
	}
	u.notePending(pending)
	return pl.cut(pending, now, all), nil
}

// unheld lists what is pending and not in the archive already.
func (u *Uploader) unheld(ctx context.Context, appliedBefore time.Time) ([]catalogue.Pending, error) {
	for {
		pending, err := u.o.Source.Pending(ctx, appliedBefore)
		if err != nil {
			return nil, fmt.Errorf("list what is not archived: %w", err)
		}
		changed, err := u.adopt(ctx, pending)
		if err != nil || !changed {
			return pending, err
		}
	}
}

func (u *Uploader) pending(ctx context.Context) ([]catalogue.Pending, error) {
	pending, err := u.o.Source.Pending(ctx, farFuture)
	if err != nil {
		return nil, fmt.Errorf("list what is not archived: %w", err)
	}
	u.notePending(pending)
	return pending, nil
}

// farFuture asks for all pending blocks. Age is judged by the planner, which also knows what to do about times that lie
// in the future.
var farFuture = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// openPlans returns copies of the plans that are stored and not verified, oldest first.
func (u *Uploader) openPlans(ctx context.Context) ([]*catalogue.Plan, error) {
	var open []*catalogue.Plan
	err := u.o.Catalogue.PlansIn(ctx, catalogue.Planned, func(p *catalogue.Plan) error {
		c := *p
		open = append(open, &c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the archive catalogue: %w", err)
	}
	return open, nil
}

// execute carries out a stored plan: build, put, read back, mark.
func (u *Uploader) execute(ctx context.Context, p *catalogue.Plan, r *Result) error {
	b, err := u.builder.build(ctx, u.o.Source, p)
	u.estimate.learn(b)
	if err != nil {
		return err
	}
	target := u.begunAt(ctx, p)
	if err := u.send(ctx, target, p, p.Key, b); err != nil {
		return err
	}
	if err := u.sendStats(ctx, target, p); err != nil {
		return err
	}
	p.State = catalogue.Verified
	p.Target = target.Name()
	p.RawBytes, p.ObjectBytes = b.rawBytes, b.objectBytes
	p.RawSHA256, p.ObjectSHA256 = b.rawSHA256, b.objectSHA256
	p.VerifiedAt = u.o.Now().UTC()
	if p.Observed, err = u.observed(); err != nil {
		return err
	}
	crash.Point("uploader.mark.before")
	if err := u.o.Catalogue.MarkVerified(ctx, p); err != nil {
		return fmt.Errorf("mark %s as archived: %w", p.Key, err)
	}
	crash.Point("uploader.mark.after")

	r.Objects++
	r.Rows += p.Rows
	r.Lines += p.Lines
	r.RawBytes += b.rawBytes
	r.Bytes += b.objectBytes
	u.noteArchived(p)
	return nil
}

// sendStats builds and sends the statistics of the events built last. Plans made before there were any have none.
func (u *Uploader) sendStats(ctx context.Context, t Target, p *catalogue.Plan) error {
	if p.StatsKey == "" {
		return nil
	}
	b, err := u.builder.buildStats(ctx, p)
	if err != nil {
		return err
	}
	if err := u.send(ctx, t, p, p.StatsKey, b); err != nil {
		return err
	}
	p.StatsRows, p.StatsBytes, p.StatsSHA256 = b.lines, b.objectBytes, b.objectSHA256
	return nil
}

// send writes the object in the builder's memory and reads it back.
func (u *Uploader) send(ctx context.Context, t Target, p *catalogue.Plan, key string, b *built) error {
	meta := planMeta(p, b, t.MetaBytesMax())
	crash.Point("uploader.put.before")
	if err := u.put(ctx, t, key, b, meta); err != nil {
		return &stopError{err}
	}
	crash.Point("uploader.put.after")
	crash.Point("uploader.verify.before")
	if err := u.verify(ctx, t, key, b, meta); err != nil {
		return err
	}
	crash.Point("uploader.verify.after")
	return nil
}

func (u *Uploader) put(ctx context.Context, t Target, key string, b *built, meta map[string]string) error {
	ctx, s := u.attend(ctx)
	body := u.builder.body.reader()
	defer body.close()
	size := int64(b.objectBytes) //nolint:gosec // an object is far below 2^63 bytes
	return s.end(t.Put(ctx, key, &watchedBody{ReadSeeker: body, s: s, size: size}, size, meta))
}

// stopError marks an error that does not concern one plan: the next plan would fail the same way.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// stops reports whether going on with the next plan is pointless.
func stops(err error) bool {
	var s *stopError
	return errors.As(err, &s) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

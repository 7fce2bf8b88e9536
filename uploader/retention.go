package uploader

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// ErrArchiveMissing says that retention found an archived object gone or changed. Its events are kept locally.
var ErrArchiveMissing = errors.New("archived object is not as it was verified")

// CleanOnce deletes local events that stand verified in the archive and are older than the retention. Each object is
// looked up once more immediately before its events are deleted; anything unexpected keeps them. It waits for a job that
// is running. A plan that must be kept does not hold up the others; an unreachable target ends the run.
func (u *Uploader) CleanOnce(ctx context.Context) (Result, error) {
	return u.runJob(ctx, jobClean, u.clean)
}

func (u *Uploader) clean(ctx context.Context, r *Result) error {
	if err := u.o.Catalogue.Checkpoint(); err != nil {
		return fmt.Errorf("write statistics before their events are deleted: %w", err)
	}
	return errors.Join(u.deleteDue(ctx, r), u.expire(ctx, r))
}

func (u *Uploader) deleteDue(ctx context.Context, r *Result) error {
	due, err := u.duePlans(ctx)
	if err != nil {
		return err
	}
	var failed []error
	away := map[string]bool{} // former targets that cannot be asked, in this run
	for _, p := range due {
		err := u.cleanPlan(ctx, p, away)
		if err == nil {
			delete(u.warned, p.ID)
			u.noteDeleted(p)
			r.Objects++
			r.Rows += p.Rows
			r.Lines += p.Lines
			r.RawBytes += p.RawBytes
			r.Bytes += p.ObjectBytes
			continue
		}
		r.Kept++
		var former *formerError
		if errors.As(err, &former) {
			u.warnFormer(former, away)
			continue
		}
		failed = append(failed, err)
		if stops(err) {
			break
		}
		if u.warned[p.ID] != err.Error() {
			u.warned[p.ID] = err.Error()
			u.o.Logger.Warn("events are kept locally beyond their retention", "key", p.Key, "error", err)
		}
	}
	if len(failed) > 1 {
		return fmt.Errorf("%w (and %d more of %d objects)", failed[0], len(failed)-1, len(due))
	}
	return errors.Join(failed...)
}

// duePlans returns copies of the verified plans that are older than the retention, oldest first.
func (u *Uploader) duePlans(ctx context.Context) ([]*catalogue.Plan, error) {
	now := u.o.Now()
	limit := now.Add(-u.o.RetentionEvents)
	seen, err := u.observed()
	if err != nil {
		return nil, err
	}
	var due []*catalogue.Plan
	err = u.o.Catalogue.PlansIn(ctx, catalogue.Verified, func(p *catalogue.Plan) error {
		age := p.MaxTime
		if age.After(now.Add(futureTolerance)) {
			// Recorded while the clock was ahead: what counts is how long it has been in the archive, as far as the time was
			// seen to pass.
			age = now.Add(p.Observed - seen)
		}
		if age.Before(limit) {
			c := *p
			due = append(due, &c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the archive catalogue: %w", err)
	}
	return due, nil
}

func (u *Uploader) cleanPlan(ctx context.Context, p *catalogue.Plan, away map[string]bool) error {
	if err := u.locate(ctx, p, away); err != nil {
		return err
	}
	crash.Point("uploader.delete.before")
	if err := u.o.Catalogue.DeleteBlocks(ctx, p); err != nil {
		return fmt.Errorf("delete the local events of %s: %w", p.Key, err)
	}
	crash.Point("uploader.delete.after")
	return nil
}

// inPlace looks the object up in a target and compares size and metadata with the catalogue.
func (u *Uploader) inPlace(ctx context.Context, t Target, p *catalogue.Plan) error {
	info, err := u.stat(ctx, t, p.Key)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: it was verified in %s: %w", ErrArchiveMissing, p.Target, err)
	case err != nil:
		return &stopError{err}
	case info.Size < 0 || uint64(info.Size) != p.ObjectBytes:
		return fmt.Errorf("%w: %s has %d bytes, verified were %d", ErrArchiveMissing, p.Key, info.Size, p.ObjectBytes)
	}
	want := map[string]string{MetaRawSHA256: p.RawSHA256, MetaRows: strconv.FormatUint(p.Rows, 10)}
	if d := metaDiffers(want, info.Meta); d != "" {
		return fmt.Errorf("%w: %s: metadata: %s", ErrArchiveMissing, p.Key, d)
	}
	return nil
}

// formerError says that an object of a former target was not found there, nor in the current one. Its events are kept locally, which
// is no failure of the job: the current target may be all right.
type formerError struct {
	target string
	cause  error
}

func (e *formerError) Error() string { return e.target + ": " + e.cause.Error() }
func (e *formerError) Unwrap() error { return e.cause }

// locate makes sure that an object is in place: in the target that it was sent to, or, after a change of that, copied to the current
// one. Former targets that do not answer are noted in away and not asked again.
func (u *Uploader) locate(ctx context.Context, p *catalogue.Plan, away map[string]bool) error {
	if u.o.Targets.IsCurrent(p.Target) {
		return u.inPlace(ctx, u.o.Target, p)
	}
	cause := errFormerAway
	if !away[p.Target] {
		t, err := u.o.Targets.Of(ctx, p)
		if err == nil {
			err = u.inPlace(ctx, t, p)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		away[p.Target] = !errors.Is(err, ErrArchiveMissing)
		cause = err
	}
	switch err := u.inPlace(ctx, u.o.Target, p); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return err
	}
	return &formerError{p.Target, cause}
}

var errFormerAway = errors.New("it does not answer")

// warnFormer says once for each former target and reason that events are kept because of it.
func (u *Uploader) warnFormer(e *formerError, away map[string]bool) {
	text := printable(e.cause.Error(), errorBytesMax)
	if errors.Is(e.cause, errFormerAway) || u.away[e.target] == text || !away[e.target] && u.away[e.target] != "" {
		return
	}
	u.away[e.target] = text
	u.o.Logger.Warn("events that were archived to a former archive are kept locally: they are not found there; "+
		"let wayside reach it, or copy its objects to the present archive", "former", printable(e.target, remoteTextMax), "error", text)
}

// begunAt is the target that a plan is executed at: the current one, but for a plan whose object a former target has already, so that no
// event is in two archives.
func (u *Uploader) begunAt(ctx context.Context, p *catalogue.Plan) Target {
	if u.o.Targets.IsCurrent(p.Target) || u.silent[p.Target] {
		return u.o.Target
	}
	t, err := u.o.Targets.Of(ctx, p)
	if err == nil {
		_, err = u.stat(ctx, t, p.Key)
	}
	u.silent[p.Target] = err != nil && !errors.Is(err, ErrNotFound)
	switch {
	case err == nil:
		return t
	case !errors.Is(err, ErrNotFound):
		u.o.Logger.Warn("an object was planned for a former archive, which cannot be asked whether it has it; it is sent to the present one",
			"key", p.Key, "former", printable(p.Target, remoteTextMax), "error", printable(err.Error(), errorBytesMax))
	}
	return u.o.Target
}

package uploader

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// ErrArchiveMissing means that an archived object is missing or has changed. Its events are kept locally.
var ErrArchiveMissing = errors.New("archived object is not as it was when it was verified")

// deleter is a target that can remove objects. S3 targets deliberately cannot do this: lifecycle rules of the bucket can remove objects,
// so pods need no permission to delete.
type deleter interface {
	// Delete removes an object. If there is no such object, that is not an error.
	Delete(ctx context.Context, key string) error
}

// retention runs the clean job. Only the holder of the job token uses it.
type retention struct {
	*common
	// Reasons that have already been logged: why plans are kept, by ID, and why former targets cannot be used, by name.
	warned map[uint64]string
	away   map[string]string

	silent map[string]bool // former targets that did not respond in this run
}

func (r *retention) run(ctx context.Context, result *Result) error {
	if err := r.o.Catalogue.Checkpoint(); err != nil {
		return fmt.Errorf("write statistics before their events are deleted: %w", err)
	}
	return errors.Join(r.deleteEvents(ctx, result), r.expire(ctx, result))
}

// deleteEvents deletes the local events of all plans that are due.
func (r *retention) deleteEvents(ctx context.Context, result *Result) error {
	due, err := r.duePlans(ctx)
	if err != nil {
		return err
	}
	var failed []error
	r.silent = map[string]bool{}
	for _, p := range due {
		err := r.deletePlan(ctx, p)
		if err == nil {
			delete(r.warned, p.ID)
			r.status.change(func(s *Status) { s.DeletedRows += p.Rows })
			result.Objects++
			result.Rows += p.Rows
			result.Lines += p.Lines
			result.RawBytes += p.RawBytes
			result.Bytes += p.ObjectBytes
			continue
		}
		result.Kept++
		var former *formerError
		if errors.As(err, &former) {
			r.warnFormer(former)
			continue
		}
		failed = append(failed, err)
		if stops(err) {
			break
		}
		if r.warned[p.ID] != err.Error() {
			r.warned[p.ID] = err.Error()
			r.o.Logger.Warn("cannot delete events whose retention is over; they stay in the data directory, and wayside will try again",
				"key", p.Key, "error", err)
		}
	}
	if len(failed) > 1 {
		return fmt.Errorf("%w (and %d more of %d objects)", failed[0], len(failed)-1, len(due))
	}
	return errors.Join(failed...)
}

// duePlans returns the verified plans whose events are older than the retention, oldest first.
func (r *retention) duePlans(ctx context.Context) ([]*catalogue.Plan, error) {
	now := r.o.Now()
	limit := now.Add(-r.o.RetentionEvents)
	uptime, err := r.uptime.now()
	if err != nil {
		return nil, err
	}
	return r.plansWhere(ctx, catalogue.Verified, func(p *catalogue.Plan) bool {
		newest := p.MaxTime
		if newest.After(now.Add(futureTolerance)) {
			// The events were recorded while the clock was ahead. Therefore, the time that wayside has been running since they were
			// verified is used as their age.
			newest = now.Add(p.Observed - uptime)
		}
		return newest.Before(limit)
	})
}

func (r *retention) deletePlan(ctx context.Context, p *catalogue.Plan) error {
	if err := r.locate(ctx, p); err != nil {
		return err
	}
	crash.Point("uploader.delete.before")
	if err := r.o.Catalogue.DeleteBlocks(ctx, p); err != nil {
		return fmt.Errorf("delete the local events of %s: %w", p.Key, err)
	}
	crash.Point("uploader.delete.after")
	return nil
}

// inPlace looks up an object in a target, and compares its size and metadata with the catalogue.
func (r *retention) inPlace(ctx context.Context, t Target, p *catalogue.Plan) error {
	info, err := r.requests.stat(ctx, t, p.Key)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: it was verified in %s: %w", ErrArchiveMissing, p.Target, err)
	case err != nil:
		return &stopError{err}
	case info.Size < 0 || uint64(info.Size) != p.ObjectBytes:
		return fmt.Errorf("%w: %s has %d bytes, but %d were verified", ErrArchiveMissing, p.Key, info.Size, p.ObjectBytes)
	}
	want := map[string]string{MetaRawSHA256: p.RawSHA256, MetaRows: strconv.FormatUint(p.Rows, 10)}
	if d := metaDiffers(want, info.Meta); d != "" {
		return fmt.Errorf("%w: %s: metadata: %s", ErrArchiveMissing, p.Key, d)
	}
	return nil
}

// formerError means that an object of a former target was found neither there nor in the current target. Its events are kept locally. The
// job does not fail because of this error, since the current target may still work.
type formerError struct {
	target string
	cause  error
}

func (e *formerError) Error() string { return e.target + ": " + e.cause.Error() }
func (e *formerError) Unwrap() error { return e.cause }

var errNoAnswer = errors.New("it does not respond")

// locate checks that an object is in place: in the target to which it was sent, or in the current one if it was copied there. A former
// target that does not respond is not tried again in this run.
func (r *retention) locate(ctx context.Context, p *catalogue.Plan) error {
	if r.o.Targets.IsCurrent(p.Target) {
		return r.inPlace(ctx, r.o.Target, p)
	}
	cause := errNoAnswer
	if !r.silent[p.Target] {
		t, err := r.o.Targets.Of(ctx, p)
		if err == nil {
			err = r.inPlace(ctx, t, p)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.silent[p.Target] = !errors.Is(err, ErrArchiveMissing)
		cause = err
	}
	if err := r.inPlace(ctx, r.o.Target, p); err == nil || ctx.Err() != nil {
		return err
	}
	return &formerError{p.Target, cause}
}

// warnFormer logs, once for each former target and reason, that events are kept.
func (r *retention) warnFormer(e *formerError) {
	text := printable(e.cause.Error(), errorBytesMax)
	if errors.Is(e.cause, errNoAnswer) || r.away[e.target] == text || !r.silent[e.target] && r.away[e.target] != "" {
		return
	}
	r.away[e.target] = text
	r.o.Logger.Warn("keeping events locally, because their former archive does not have them or does not respond; "+
		"make that archive reachable, or copy its objects to the current one", "former", printable(e.target, remoteTextMax), "error", text)
}

// expire removes event objects that have been in the archive for longer than Options.Expire and whose events have been
// deleted locally. Statistics objects stay.
func (r *retention) expire(ctx context.Context, result *Result) error {
	target, ok := r.o.Target.(deleter)
	if r.o.Expire <= 0 || !ok {
		return nil
	}
	uptime, err := r.uptime.now()
	if err != nil {
		return err
	}
	due, err := r.plansWhere(ctx, catalogue.Deleted, func(p *catalogue.Plan) bool {
		// Only objects in the current archive expire: those that were written to it, and those that were moved or copied to it.
		return p.ExpiredAt.IsZero() && uptime-p.Observed >= r.o.Expire &&
			(r.o.Targets.IsCurrent(p.Target) || r.inPlace(ctx, r.o.Target, p) == nil)
	})
	if err != nil {
		return err
	}
	for _, p := range due {
		crash.Point("uploader.expire.before")
		if err := target.Delete(ctx, p.Key); err != nil {
			return err
		}
		crash.Point("uploader.expire.deleted")
		p.ExpiredAt = r.o.Now().UTC()
		if err := r.o.Catalogue.MarkExpired(ctx, p); err != nil {
			return fmt.Errorf("mark %s as expired: %w", p.Key, err)
		}
		result.Expired++
	}
	return nil
}

package uploader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// ErrNotVerified means that an object differs, when it is read back, from what was written. The object's plan stays open, and the next
// run writes the object again.
var ErrNotVerified = errors.New("archive object does not read back as written")

// archiver runs the archive job. Only the holder of the job token uses it.
type archiver struct {
	*common
	estimate estimate
	// dense means that runs follow each other within a minute. In that case, a run that archived something keeps its memory for the next
	// run, because it costs more to get memory from the kernel than to fill it.
	dense   bool
	builder *builder // nil between runs, unless they are dense

	// Set only during a run.
	importer *importer       // nil until an epoch needs one
	silent   map[string]bool // former targets that did not respond
}

// run finishes the open plans and then archives the pending blocks.
func (a *archiver) run(ctx context.Context, r *Result, all bool) error {
	a.silent = map[string]bool{}
	if a.builder == nil {
		a.builder = newBuilder()
	}
	before := r.Objects
	defer func() {
		a.importer = nil
		if a.dense && r.Objects > before {
			a.builder.body.trim()
			return
		}
		a.builder.body.release()
		a.builder = nil
	}()
	open, err := a.plansWhere(ctx, catalogue.Planned, nil)
	if err != nil {
		return err
	}
	a.status.change(func(s *Status) { s.OpenPlans = len(open) })
	pending, err := a.pending(ctx, farFuture)
	if err != nil {
		return err
	}
	a.reportPending(pending)
	var failed []error
	for _, p := range open {
		switch err := a.execute(ctx, p, r); {
		case err == nil:
			r.Resumed++
		case stops(err):
			return errors.Join(append(failed, err)...)
		default:
			failed = append(failed, err)
		}
	}
	for {
		plans, err := a.nextPlans(ctx, all)
		if err != nil || len(plans) == 0 {
			return errors.Join(append(failed, err)...)
		}
		ratio := a.estimate.current()
		for _, p := range plans {
			if err := a.archivePlan(ctx, p, r); err != nil {
				failed = append(failed, err)
				if stops(err) {
					return errors.Join(failed...)
				}
			}
			if a.estimate.current() > ratio {
				break // the objects of the other plans would be too large, so they are planned again with the new estimate
			}
		}
	}
}

// archivePlan stores a new plan and executes it. After the plan has been stored, its blocks are no longer pending, even if the execution
// fails. Therefore, the loop in run always ends.
func (a *archiver) archivePlan(ctx context.Context, p *catalogue.Plan, r *Result) error {
	crash.Point("uploader.plan.before")
	if err := a.o.Catalogue.AddPlan(ctx, p); err != nil {
		return &stopError{fmt.Errorf("store the plan of %s: %w", p.Key, err)}
	}
	crash.Point("uploader.plan.after")
	a.status.change(func(s *Status) {
		s.PendingEvents -= min(p.Rows, s.PendingEvents)
		s.OpenPlans++
	})
	return a.execute(ctx, p, r)
}

// nextPlans makes plans from pending blocks. The length of the list of blocks is limited, so nextPlans first requests only those that are
// old enough. Then it requests all blocks, to find those that were applied while the clock was ahead.
func (a *archiver) nextPlans(ctx context.Context, all bool) ([]*catalogue.Plan, error) {
	now := a.o.Now()
	pl := planner{a.o.Service, a.o.Instance, a.o.Fields, a.o.ObjectBytes, a.o.After, &a.estimate, a.o.Target.Name()}
	if !all {
		old, err := a.pendingAfterImport(ctx, now.Add(-a.o.After+time.Microsecond))
		if err != nil {
			return nil, err
		}
		if plans := pl.cut(old, now, false); len(plans) > 0 {
			return plans, nil
		}
	}
	pending, err := a.pendingAfterImport(ctx, farFuture)
	if err != nil {
		return nil, err
	}
	a.reportPending(pending)
	return pl.cut(pending, now, all), nil
}

// pendingAfterImport lists pending blocks, after the events that another store has already archived have been removed from them.
func (a *archiver) pendingAfterImport(ctx context.Context, appliedBefore time.Time) ([]catalogue.Pending, error) {
	for {
		pending, err := a.pending(ctx, appliedBefore)
		if err != nil {
			return nil, err
		}
		changed, err := a.importRemote(ctx, pending)
		if err != nil || !changed {
			return pending, err
		}
	}
}

// farFuture is used to request all pending blocks. The planner, which can handle times in the future, then checks their age.
var farFuture = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

func (a *archiver) pending(ctx context.Context, appliedBefore time.Time) ([]catalogue.Pending, error) {
	pending, err := a.o.Source.Pending(ctx, appliedBefore)
	if err != nil {
		return nil, fmt.Errorf("list events to archive: %w", err)
	}
	return pending, nil
}

func (a *archiver) reportPending(pending []catalogue.Pending) {
	rows := uint64(0)
	for i := range pending {
		rows += pending[i].Rows
	}
	a.status.change(func(s *Status) { s.PendingEvents = rows })
}

// execute carries out a stored plan: it builds the object, writes it, reads it back, and marks the plan as verified.
func (a *archiver) execute(ctx context.Context, p *catalogue.Plan, r *Result) error {
	b, err := a.builder.build(ctx, a.o.Source, p)
	a.estimate.learn(b)
	if err != nil {
		return err
	}
	target := a.targetOf(ctx, p)
	if err := a.send(ctx, target, p, p.Key, b); err != nil {
		return err
	}
	if err := a.sendStatistics(ctx, target, p); err != nil {
		return err
	}
	p.State = catalogue.Verified
	p.Target = target.Name()
	p.RawBytes, p.ObjectBytes = b.rawBytes, b.objectBytes
	p.RawSHA256, p.ObjectSHA256 = b.rawSHA256, b.objectSHA256
	p.VerifiedAt = a.o.Now().UTC()
	if p.Observed, err = a.uptime.now(); err != nil {
		return err
	}
	crash.Point("uploader.mark.before")
	if err := a.o.Catalogue.MarkVerified(ctx, p); err != nil {
		return fmt.Errorf("mark %s as archived: %w", p.Key, err)
	}
	crash.Point("uploader.mark.after")

	r.Objects++
	r.Rows += p.Rows
	r.Lines += p.Lines
	r.RawBytes += b.rawBytes
	r.Bytes += b.objectBytes
	a.status.change(func(s *Status) {
		s.OpenPlans = max(s.OpenPlans-1, 0)
		s.ArchivedObjects++
		s.Unusable = ""
		s.ArchivedRows += p.Rows
		s.ArchivedBytes += p.ObjectBytes
	})
	return nil
}

// targetOf returns the target for a plan's object. This is the current target, unless the plan was made for a former target that already
// has the object: writing the object to the current target would put the same events into two archives.
func (a *archiver) targetOf(ctx context.Context, p *catalogue.Plan) Target {
	if a.o.Targets.IsCurrent(p.Target) || a.silent[p.Target] {
		return a.o.Target
	}
	t, err := a.o.Targets.Of(ctx, p)
	if err == nil {
		_, err = a.requests.stat(ctx, t, p.Key)
	}
	a.silent[p.Target] = err != nil && !errors.Is(err, ErrNotFound)
	if err == nil {
		return t
	}
	if a.silent[p.Target] {
		a.o.Logger.Warn("cannot check whether a former archive already has an object that was planned for it; sending the object to the current archive",
			"key", p.Key, "former", printable(p.Target, remoteTextMax), "error", printable(err.Error(), errorBytesMax))
	}
	return a.o.Target
}

// sendStatistics builds and sends the statistics of the most recently built events. It does nothing for plans made by versions that had
// no statistics objects.
func (a *archiver) sendStatistics(ctx context.Context, t Target, p *catalogue.Plan) error {
	if p.StatsKey == "" {
		return nil
	}
	b, err := a.builder.buildStatistics(ctx, p)
	if err != nil {
		return err
	}
	if err := a.send(ctx, t, p, p.StatsKey, b); err != nil {
		return err
	}
	p.StatsRows, p.StatsBytes, p.StatsSHA256 = b.lines, b.objectBytes, b.objectSHA256
	return nil
}

// send writes the object that is in the builder's memory, and reads it back.
func (a *archiver) send(ctx context.Context, t Target, p *catalogue.Plan, key string, b *built) error {
	meta := planMeta(p, b, t.MetaBytesMax())
	crash.Point("uploader.put.before")
	if err := a.put(ctx, t, key, b, meta); err != nil {
		return &stopError{err}
	}
	crash.Point("uploader.put.after")
	crash.Point("uploader.verify.before")
	if err := a.verify(ctx, t, key, b, meta); err != nil {
		return err
	}
	crash.Point("uploader.verify.after")
	return nil
}

func (a *archiver) put(ctx context.Context, t Target, key string, b *built, meta map[string]string) error {
	ctx, q := a.requests.begin(ctx)
	body := a.builder.body.reader()
	defer body.close()
	size := int64(b.objectBytes)
	return q.end(t.Put(ctx, key, &watchedBody{ReadSeeker: body, request: q, size: size}, size, meta))
}

// verify reads the object back and compares it with what was written. It does not hash the content again: the object's hash proves that
// these are the bytes that were written, and gzip's checksum proves that the unpacked content is correct. Another hash would cost as much
// as the rest of the verification.
func (a *archiver) verify(ctx context.Context, t Target, key string, want *built, meta map[string]string) error {
	ctx, q := a.requests.begin(ctx)
	body, got, err := t.Get(ctx, key)
	if err != nil {
		return &stopError{q.end(err)}
	}
	found, err := a.builder.unpacker.digest(watchedReader{body, q}, want.rawBytes)
	err = q.end(errors.Join(err, body.Close()))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrNotVerified, key, err)
	case found.objectBytes != want.objectBytes || found.objectSHA256 != want.objectSHA256:
		return fmt.Errorf("%w: %s: %d bytes with hash %s, but %d with %s were written",
			ErrNotVerified, key, found.objectBytes, found.objectSHA256, want.objectBytes, want.objectSHA256)
	case found.rawBytes != want.rawBytes:
		return fmt.Errorf("%w: %s: the content has %d bytes, but %d were written", ErrNotVerified, key, found.rawBytes, want.rawBytes)
	}
	if d := metaDiffers(meta, got); d != "" {
		return fmt.Errorf("%w: %s: metadata: %s", ErrNotVerified, key, d)
	}
	return nil
}

// stopError marks an error that does not concern a single plan: the next plan would fail in the same way.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// stops reports whether the next plan would also fail.
func stops(err error) bool {
	var s *stopError
	return errors.As(err, &s) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

package uploader

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// A store that was begun anew, because the one before it was damaged, is offered events again that the other one had applied
// and perhaps archived. Nobody but the archive knows. So before anything of an epoch in doubt is planned, the target is
// asked what it holds of that epoch: an event is only ever in the object of its own hour, so it takes one listing for each
// hour that has something to archive, below the one prefix that service, instance and epoch allow. What is found is read to
// its end and entered into the catalogue, and its events wait for an object no longer. A target that cannot be asked makes
// archiving wait.

// adoptHoursMax bounds the hours before the present ones in which objects of an epoch in doubt are looked for, once. They
// hold nothing that could be archived twice; they are entered so that the catalogue knows all that its epochs left.
const adoptHoursMax = 31 * 24

// ErrHeldDamaged says that an object of an epoch in doubt stands in the archive and cannot be read, so that it is not known
// which events are in it. Nothing of that epoch is archived until it is gone or whole again.
var ErrHeldDamaged = errors.New("archive object of an earlier store is damaged: see wayside archive verify, then move it away")

// epochHour is what one listing covers.
type epochHour struct {
	epoch uuid.UUID
	hour  int64
}

// held is an object of an epoch in doubt that another store made.
type held struct {
	plan *catalogue.Plan // as it is, or will be, in the catalogue
	read bool            // Runs, Rows and Lines are what was read in it, in this job
	size int64
}

// holdings is what one archive job has learnt of the epochs in doubt. Owned by the job.
type holdings struct {
	listed map[epochHour][]*held
	own    map[string]*catalogue.Plan // plans of the epochs in doubt, by key
}

// adopt makes sure that nothing is pending that the target holds already, and reports whether anything was taken out.
func (u *Uploader) adopt(ctx context.Context, pending []catalogue.Pending) (changed bool, err error) {
	waiting := map[epochHour][]catalogue.Run{}
	whole := map[uuid.UUID]bool{} // epochs of which all hours are to be looked through
	for i := range pending {
		b := &pending[i]
		doubtful, entered := u.o.Catalogue.Unreconciled(b.Epoch)
		if !doubtful {
			continue
		}
		at := epochHour{b.Epoch, b.ID.Hour}
		waiting[at] = append(waiting[at], b.Runs...)
		if !entered {
			whole[b.Epoch] = true
		}
	}
	for at, runs := range waiting {
		did, err := u.adoptHour(ctx, at, runs)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	for epoch := range whole {
		if err := u.adoptEarlier(ctx, epoch); err != nil {
			return changed, err
		}
		if err := u.o.Catalogue.MarkImported(epoch); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// adoptEarlier looks through the hours from an epoch's first to the present one.
func (u *Uploader) adoptEarlier(ctx context.Context, epoch uuid.UUID) error {
	if epoch.Version() != 7 {
		return nil // it does not say when it began
	}
	now := u.o.Now().Unix() / 3600
	seconds, _ := epoch.Time().UnixTime()
	for hour := max(seconds/3600, now-adoptHoursMax); hour <= now; hour++ {
		if _, err := u.adoptHour(ctx, epochHour{epoch, hour}, nil); err != nil {
			return err
		}
	}
	return nil
}

// adoptHour enters what the target holds of one epoch and hour. runs are those of the blocks that wait.
func (u *Uploader) adoptHour(ctx context.Context, at epochHour, runs []catalogue.Run) (changed bool, err error) {
	objects, err := u.holdingsOf(ctx, at)
	if err != nil {
		return false, err
	}
	slices.SortFunc(runs, func(a, b catalogue.Run) int { return cmp.Compare(a.First, b.First) })
	for _, h := range objects {
		overlaps := catalogue.Overlap(runs, h.plan.Runs)
		if h.plan.ID != 0 && !overlaps {
			continue // entered
		}
		if err := u.describe(ctx, h, overlaps); err != nil {
			return changed, err
		}
		if h.plan.ID != 0 && !catalogue.Overlap(runs, h.plan.Runs) {
			continue
		}
		if h.plan.ID == 0 {
			h.plan.VerifiedAt = u.o.Now().UTC()
			if h.plan.Observed, err = u.observed(); err != nil {
				return changed, err
			}
		}
		before := h.plan.Elsewhere
		if h.plan.ID == 0 {
			before = h.plan.Rows
		}
		if err := u.o.Catalogue.ImportObject(ctx, h.plan); err != nil {
			return changed, err
		}
		u.o.Logger.Warn("the archive holds an object of an earlier store; its events are not archived again", "key", h.plan.Key,
			"responses", h.plan.Rows, "counted_here", h.plan.Counted())
		changed = changed || h.plan.Elsewhere < before
	}
	return changed, nil
}

// holdingsOf lists the objects of an epoch and hour that other stores made.
func (u *Uploader) holdingsOf(ctx context.Context, at epochHour) ([]*held, error) {
	if u.holdings == nil {
		u.holdings = &holdings{listed: map[epochHour][]*held{}, own: map[string]*catalogue.Plan{}}
		if err := u.ownPlans(ctx); err != nil {
			u.holdings = nil
			return nil, err
		}
	}
	if objects, known := u.holdings.listed[at]; known {
		return objects, nil
	}
	prefix := HourPrefix(at.hour) + string(catalogue.AppendName(nil, u.o.Service)) + "_" + string(catalogue.AppendName(nil, u.o.Instance)) + "_" + at.epoch.String() + "_"
	ctx, s := u.attend(ctx)
	var objects []*held
	err := u.o.Target.List(ctx, prefix, func(o ObjectInfo) error {
		s.progress(progressBytes)
		bounds, err := ParseRuns(strings.TrimSuffix(strings.TrimPrefix(o.Key, prefix), objectSuffix))
		if err != nil || len(bounds) != 1 {
			return nil //nolint:nilerr // somebody else's file
		}
		p := u.holdings.own[o.Key]
		if p != nil && !p.Adopted {
			return nil // this store's own
		}
		if p == nil {
			p = &catalogue.Plan{
				State: catalogue.Deleted, Adopted: true, Hour: at.hour, Epoch: at.epoch, Key: o.Key, StatsKey: StatsKey(o.Key), Runs: bounds,
				FormatVersion: FormatVersion, Service: u.o.Service, Instance: u.o.Instance, Target: u.o.Target.Name(),
				MaxTime: time.Unix((at.hour+1)*3600, 0).UTC(), CreatedAt: u.o.Now().UTC(),
			}
		}
		if p.Runs == nil { // the list did not fit into the metadata: the bounds, until it is read
			p.Runs = bounds
		}
		objects = append(objects, &held{plan: p, size: o.Size})
		return nil
	})
	if err = s.end(err); err != nil {
		return nil, &stopError{fmt.Errorf("ask the archive what it holds of epoch %s, which an earlier store may have archived: %w", at.epoch, err)}
	}
	u.holdings.listed[at] = objects
	return objects, nil
}

// ownPlans reads the catalogue's entries of the epochs in doubt.
func (u *Uploader) ownPlans(ctx context.Context) error {
	for _, state := range []catalogue.State{catalogue.Deleted, catalogue.Verified, catalogue.Planned} {
		err := u.o.Catalogue.PlansIn(ctx, state, func(p *catalogue.Plan) error {
			if doubtful, _ := u.o.Catalogue.Unreconciled(p.Epoch); doubtful {
				c := *p
				u.holdings.own[p.Key] = &c
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the archive catalogue: %w", err)
		}
	}
	return nil
}

// describe fills in what the catalogue is to say of an object: from its metadata, or, where events of it may be waiting
// here, from its content. An object without statistics, because its maker died between the two, gets them.
func (u *Uploader) describe(ctx context.Context, h *held, read bool) error {
	p := h.plan
	info, err := u.stat(ctx, u.o.Target, p.Key)
	if err == nil {
		err = CheckFormat(p.Key, info.Meta)
	}
	if err != nil {
		return &stopError{err}
	}
	p.StatsKey = StatsKey(p.Key) // which an entry lacks that was refilled from its events
	stats, err := u.stat(ctx, u.o.Target, p.StatsKey)
	bare := errors.Is(err, ErrNotFound)
	if err != nil && !bare {
		return &stopError{err}
	}
	if (read || bare) && !h.read {
		if err := u.readHeld(ctx, h, info.Meta); err != nil {
			return err
		}
	}
	if bare {
		if err := u.sendStats(ctx, u.o.Target, p); err != nil {
			return err
		}
	} else if p.StatsBytes == 0 {
		p.StatsBytes = uint64(max(stats.Size, 0)) //nolint:gosec // not negative
		p.StatsRows, _ = strconv.ParseUint(stats.Meta[MetaLines], 10, 64)
	}
	return describeByMeta(h, info.Meta)
}

func (u *Uploader) stat(ctx context.Context, t Target, key string) (ObjectInfo, error) {
	ctx, s := u.attend(ctx)
	info, err := t.Stat(ctx, key)
	return info, s.end(err)
}

// describeByMeta takes over what an object's metadata says, and compares it with what was read.
func describeByMeta(h *held, meta map[string]string) error {
	p := h.plan
	if p.ID != 0 {
		return nil
	}
	rows, err := strconv.ParseUint(meta[MetaRows], 10, 64)
	lines, err2 := strconv.ParseUint(meta[MetaLines], 10, 64)
	raw, err3 := strconv.ParseUint(meta[MetaRawBytes], 10, 64)
	runs, err4 := ParseRuns(meta[MetaRuns])
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return fmt.Errorf("%w: %s: metadata: %w", ErrHeldDamaged, p.Key, err)
	}
	if h.read && (rows != p.Rows || lines != p.Lines) {
		return fmt.Errorf("%w: %s holds %d rows in %d lines, its metadata says %d in %d", ErrHeldDamaged, p.Key, p.Rows, p.Lines, rows, lines)
	}
	if !h.read {
		p.Runs = runs // nil where the list did not fit
	}
	p.Rows, p.Lines, p.RawBytes, p.RawSHA256 = rows, lines, raw, meta[MetaRawSHA256]
	p.ObjectBytes = uint64(max(h.size, 0)) //nolint:gosec // not negative
	return nil
}

// readHeld reads an object to its end: its exact runs, and its statistics into the builder.
func (u *Uploader) readHeld(ctx context.Context, h *held, meta map[string]string) error {
	outer := ctx
	ctx, s := u.attend(ctx)
	p, raw := h.plan, sha256.New()
	var runs []catalogue.Run
	var rows, lines uint64
	u.builder.fold.reset()
	err := ReadLines(ctx, u.o.Target, p.Key, func(text []byte) error {
		s.progress(len(text))
		raw.Write(text) // a hash never fails
		raw.Write([]byte{'\n'})
		var line Line
		if err := ParseLine(text, &line, p.Hour, p.Epoch); errors.Is(err, ErrNewerFormat) {
			return err
		} else if err != nil {
			return fmt.Errorf("%w: %s: line %d: %w", ErrHeldDamaged, p.Key, lines+1, err)
		}
		if n := len(runs); n > 0 && line.Seq <= runs[n-1].Last || len(runs) > RunsReadMax || len(u.builder.fold.rows) > RowNamesMax {
			return fmt.Errorf("%w: %s: line %d is event %d of epoch %s", ErrHeldDamaged, p.Key, lines+1, line.Seq, line.Epoch)
		}
		e, name := line.Event(), line.Row()
		u.builder.fold.add(&name, &e)
		lines++
		if e.IsResponse() {
			rows++
		}
		runs = catalogue.AppendRuns(runs, catalogue.Run{First: line.Seq, Last: line.Seq})
		return nil
	})
	err = s.end(err)
	switch {
	case outer.Err() != nil:
		return &stopError{outer.Err()}
	case errors.Is(err, context.DeadlineExceeded):
		return &stopError{err}
	case errors.Is(err, ErrNewerFormat):
		return &stopError{err}
	case err != nil && !errors.Is(err, ErrHeldDamaged):
		return &stopError{fmt.Errorf("%w: %w", ErrHeldDamaged, err)}
	case err != nil:
		return err
	}
	if sum := hex.EncodeToString(raw.Sum(nil)); sum != meta[MetaRawSHA256] {
		return fmt.Errorf("%w: %s: its content has hash %s, its metadata says %s", ErrHeldDamaged, p.Key, sum, meta[MetaRawSHA256])
	}
	p.Runs, p.Rows, p.Lines, h.read = runs, rows, lines, true
	return nil
}

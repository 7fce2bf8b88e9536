package uploader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// A store that replaced a damaged one receives some events again that the damaged store had applied and perhaps archived. Only the
// archive shows which of these were archived. So before events of such an epoch are planned, the uploader lists the epoch's objects in
// the target. An event can only be in an object of its own hour, so one listing per hour is enough, below the prefix of service, instance
// and epoch. Each object is read and entered in the catalogue, and its events are then no longer pending. If the target cannot be
// reached, archiving waits.

// importHoursMax limits the number of earlier hours of an epoch that are searched. This search is made only once. No event in these hours
// could be archived twice; their objects are imported only to complete the epoch's catalogue entries.
const importHoursMax = 31 * 24

// ErrRemoteDamaged means that an object that another store archived cannot be read, so it is unknown which events it contains. No event
// of its epoch is archived until the object has been removed or repaired.
var ErrRemoteDamaged = errors.New("archive object of an earlier store is damaged: see wayside archive verify, then move it away")

// epochHour identifies one listing.
type epochHour struct {
	epoch uuid.UUID
	hour  int64
}

// remoteObject is an object that another store archived.
type remoteObject struct {
	plan *catalogue.Plan // its catalogue entry; its ID is 0 until the entry has been added
	read bool            // whether the plan's Runs, Rows and Lines were read from the object's content
	size int64
}

// importer imports the objects of other stores. Each run of the archive job has its own.
type importer struct {
	*archiver
	listed map[epochHour][]*remoteObject
	own    map[string]*catalogue.Plan // catalogue entries of the epochs concerned, by key
}

// importRemote imports the objects that may contain pending events, and reports whether fewer events are pending as a result.
func (a *archiver) importRemote(ctx context.Context, pending []catalogue.Pending) (changed bool, err error) {
	waiting := map[epochHour][]catalogue.Run{}
	incomplete := map[uuid.UUID]bool{} // epochs whose objects are not all in the catalogue
	for i := range pending {
		b := &pending[i]
		unreconciled, imported := a.o.Catalogue.Unreconciled(b.Epoch)
		if !unreconciled {
			continue
		}
		at := epochHour{b.Epoch, b.ID.Hour}
		waiting[at] = append(waiting[at], b.Runs...)
		if !imported {
			incomplete[b.Epoch] = true
		}
	}
	if len(waiting) > 0 && a.importer == nil {
		if a.importer, err = a.newImporter(ctx); err != nil {
			return false, err
		}
	}
	for at, runs := range waiting {
		fewer, err := a.importer.hour(ctx, at, runs)
		if err != nil {
			return changed, err
		}
		changed = changed || fewer
	}
	for epoch := range incomplete {
		if err := a.importer.earlierHours(ctx, epoch); err != nil {
			return changed, err
		}
		if err := a.o.Catalogue.MarkImported(epoch); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// newImporter reads the catalogue entries of the epochs concerned.
func (a *archiver) newImporter(ctx context.Context) (*importer, error) {
	im := &importer{archiver: a, listed: map[epochHour][]*remoteObject{}, own: map[string]*catalogue.Plan{}}
	for _, state := range []catalogue.State{catalogue.Deleted, catalogue.Verified, catalogue.Planned} {
		plans, err := a.plansWhere(ctx, state, func(p *catalogue.Plan) bool {
			unreconciled, _ := a.o.Catalogue.Unreconciled(p.Epoch)
			return unreconciled
		})
		if err != nil {
			return nil, err
		}
		for _, p := range plans {
			im.own[p.Key] = p
		}
	}
	return im, nil
}

// earlierHours imports the objects of all hours from an epoch's first to the current one.
func (im *importer) earlierHours(ctx context.Context, epoch uuid.UUID) error {
	if epoch.Version() != 7 {
		return nil // the epoch's ID does not contain its beginning
	}
	now := stats.HourOf(im.o.Now())
	seconds, _ := epoch.Time().UnixTime()
	for hour := max(seconds/3600, now-importHoursMax); hour <= now; hour++ {
		if _, err := im.hour(ctx, epochHour{epoch, hour}, nil); err != nil {
			return err
		}
	}
	return nil
}

// hour imports the objects of one epoch and hour. runs are the sequence numbers of the pending blocks.
func (im *importer) hour(ctx context.Context, at epochHour, runs []catalogue.Run) (changed bool, err error) {
	objects, err := im.list(ctx, at)
	if err != nil {
		return false, err
	}
	slices.SortFunc(runs, func(a, b catalogue.Run) int { return cmp.Compare(a.First, b.First) })
	for _, object := range objects {
		p := object.plan
		overlaps := catalogue.Overlap(runs, p.Runs)
		if p.ID != 0 && !overlaps {
			continue
		}
		if err := im.describe(ctx, object, overlaps); err != nil {
			return changed, err
		}
		counted := p.Elsewhere
		if p.ID == 0 {
			counted = p.Rows
			p.VerifiedAt = im.o.Now().UTC()
			if p.Observed, err = im.uptime.now(); err != nil {
				return changed, err
			}
		} else if !catalogue.Overlap(runs, p.Runs) { // compares the object's exact runs
			continue
		}
		if err := im.o.Catalogue.ImportObject(ctx, p); err != nil {
			return changed, err
		}
		im.o.Logger.Warn("the archive contains an object from an earlier store; the events in the object will not be archived again", "key", p.Key,
			"responses", p.Rows, "counted_here", p.Counted())
		changed = changed || p.Elsewhere < counted
	}
	return changed, nil
}

// list returns the objects of an epoch and hour that other stores archived.
func (im *importer) list(ctx context.Context, at epochHour) ([]*remoteObject, error) {
	if objects, known := im.listed[at]; known {
		return objects, nil
	}
	prefix := HourPrefix(at.hour) + string(catalogue.AppendName(nil, im.o.Service)) + "_" + string(catalogue.AppendName(nil, im.o.Instance)) + "_" + at.epoch.String() + "_"
	ctx, q := im.requests.begin(ctx)
	var objects []*remoteObject
	err := im.o.Target.List(ctx, prefix, func(info ObjectInfo) error {
		q.progress(progressBytes)
		o, err := ParseKey(info.Key)
		if err != nil {
			return nil //nolint:nilerr // not a file that wayside has written
		}
		p := im.own[o.Key]
		if p != nil && !p.Imported {
			return nil // an object of this store
		}
		if p == nil {
			p = &catalogue.Plan{
				State: catalogue.Deleted, Imported: true, Hour: at.hour, Epoch: at.epoch, Key: o.Key,
				FormatVersion: FormatVersion, Fields: []string{fieldObject}, Service: im.o.Service, Instance: im.o.Instance, Target: im.o.Target.Name(),
				MaxTime: stats.HourStart(at.hour + 1), CreatedAt: im.o.Now().UTC(),
			}
		}
		if p.Runs == nil { // use the bounds in its name until the object is read
			p.Runs = []catalogue.Run{{First: o.First, Last: o.Last}}
		}
		objects = append(objects, &remoteObject{plan: p, size: info.Size})
		return nil
	})
	if err = q.end(err); err != nil {
		return nil, fmt.Errorf("list the objects of epoch %s, which an earlier store may have archived: %w", at.epoch, err)
	}
	im.listed[at] = objects
	return objects, nil
}

// describe completes the catalogue entry of an object from the object's metadata or, if exact is set, from its content. If an object has
// no statistics because its store stopped between the two uploads, describe adds them.
func (im *importer) describe(ctx context.Context, object *remoteObject, exact bool) error {
	p := object.plan
	info, err := im.requests.stat(ctx, im.o.Target, p.Key)
	if err == nil {
		err = CheckFormat(p.Key, info.Meta)
	}
	if err != nil {
		return err
	}
	p.StatsKey = StatsKey(p.Key) // an entry that was made by a refill from events has no statistics key
	stats, err := im.requests.stat(ctx, im.o.Target, p.StatsKey)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		return err
	}
	if (exact || missing) && !object.read {
		if err := im.read(ctx, object); err != nil {
			return err
		}
	}
	if missing {
		if err := im.sendStatistics(ctx, im.o.Target, p); err != nil {
			return err
		}
	} else if p.StatsBytes == 0 {
		p.StatsBytes = uint64(max(stats.Size, 0))
		p.StatsRows, _ = strconv.ParseUint(stats.Meta[MetaLines], 10, 64)
	}
	return object.takeMeta(info.Meta)
}

// takeMeta copies the object's metadata into a new catalogue entry, and compares the entry with the content if that has been read.
func (object *remoteObject) takeMeta(meta map[string]string) error {
	p := object.plan
	if p.ID != 0 {
		return nil
	}
	rows, err := strconv.ParseUint(meta[MetaRows], 10, 64)
	lines, err2 := strconv.ParseUint(meta[MetaLines], 10, 64)
	raw, err3 := strconv.ParseUint(meta[MetaRawBytes], 10, 64)
	runs, err4 := ParseRuns(meta[MetaRuns])
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return fmt.Errorf("%w: %s: metadata: %w", ErrRemoteDamaged, p.Key, err)
	}
	if object.read && (rows != p.Rows || lines != p.Lines) {
		return fmt.Errorf("%w: %s has %d rows in %d lines, but its metadata says %d in %d", ErrRemoteDamaged, p.Key, p.Rows, p.Lines, rows, lines)
	}
	if !object.read {
		p.Runs = runs // nil if the list did not fit into the metadata
	}
	p.Rows, p.Lines, p.RawBytes, p.RawSHA256 = rows, lines, raw, meta[MetaRawSHA256]
	p.ObjectBytes = uint64(max(object.size, 0))
	return nil
}

// read reads an object to its end. It stores the exact runs in the plan, and the statistics in the builder.
func (im *importer) read(ctx context.Context, object *remoteObject) error {
	p, fold := object.plan, &im.builder.fold
	fold.reset()
	ctx, q := im.requests.begin(ctx)
	c, err := ScanEvents(ctx, im.o.Target, p.Key, func(text []byte, l *Line) error {
		q.progress(len(text))
		e, name := l.Event(), l.Row()
		fold.add(l.Seq, &name, &e)
		return nil
	})
	if err == nil {
		err = c.MatchesMeta()
	}
	if err = q.end(err); errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrRemoteDamaged, err)
	}
	if err != nil {
		return err
	}
	p.Runs, p.Rows, p.Lines, object.read = c.Runs, c.Rows, c.Lines, true
	return nil
}

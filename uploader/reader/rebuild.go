package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// Origin names the objects from which statistics are rebuilt.
type Origin string

// The origins of [Rebuild].
const (
	// FromBest uses the statistics object if there is one, and otherwise the event object.
	FromBest Origin = "best"
	// FromStatistics uses only statistics objects.
	FromStatistics Origin = "statistics"
	// FromEvents uses only event objects.
	FromEvents Origin = "events"
)

// RebuildOptions select the statistics to rebuild.
type RebuildOptions struct {
	Range             // every hour that overlaps the range is rebuilt completely
	Service, Instance string
	From              Origin   // empty means FromBest
	Expect            Expected // Rebuild removes the entries whose objects it finds
	Progress          func(done, total int, key string)
	// Hour, if not nil, is called with the rows of each hour: hours in ascending order, rows ordered by host, method and label. If the
	// rows of an hour take up more than about 32 MiB, Hour is called several times for that hour, and the rows must be added up. If Whole
	// is set, that is an error instead.
	Hour  func(keys []stats.Key, rows []*stats.Row) error
	Whole bool
}

// Rebuilt describes the result of [Rebuild].
type Rebuilt struct {
	Rows           int    `json:"rows"`
	Hours          int    `json:"hours"`
	Responses      uint64 `json:"responses"`
	FromStatistics int    `json:"from_statistics"` // number of objects
	FromEvents     int    `json:"from_events"`     // number of objects
	Dropped        uint64 `json:"dropped"`         // responses that could not be recorded, according to the drop records in the range
	// Repeated are objects that share events with other objects. Each event is counted once.
	Repeated []Repeated `json:"repeated,omitempty"`
	// Problems lists the objects that are missing, damaged, or different from their metadata. These objects are not counted.
	Problems []Problem `json:"problems,omitempty"`
	// Epochs describes the part of each epoch that is in the archive.
	Epochs map[uuid.UUID]*EpochSum `json:"-"`
}

// Repeated describes an object whose responses were not all counted, because some of them are also in another object.
type Repeated struct {
	Key       string `json:"key"`
	Responses uint64 `json:"responses"` // number that was not counted
	Of        uint64 `json:"of"`
}

// Rebuild recomputes the hourly statistics from the archive alone. It reads every object to its end and compares the object with its
// metadata before it counts any of its events. It counts every event once, even if several objects contain it. A damaged object is not
// counted but reported. An error means that the target could not be read, or that a newer wayside wrote an object.
func Rebuild(ctx context.Context, t uploader.Target, o RebuildOptions) (*Rebuilt, error) {
	b := &rebuilder{RebuildOptions: o, t: t, out: &Rebuilt{Epochs: map[uuid.UUID]*EpochSum{}}, counted: covered{}}
	b.rows = hourRows{emit: o.Hour, whole: o.Whole, out: b.out}
	pairs, err := b.pairs(ctx)
	if err != nil {
		return b.out, err
	}
	for i := range pairs {
		o.Expect.found(pairs[i].Key)
	}
	b.out.Problems = o.Expect.missing(o.Service, o.Instance)
	b.shared = overlaps(pairs, func(p *pair) *uploader.Object { return &p.Object })
	for i := range pairs {
		p := &pairs[i]
		if o.Progress != nil {
			o.Progress(i, len(pairs), p.Key)
		}
		if i > 0 && !p.Hour.Equal(pairs[i-1].Hour) {
			if err := b.rows.endHour(); err != nil {
				return b.out, err
			}
		}
		if err := b.add(ctx, p); skippable(err) {
			b.problem(p, "", err)
		} else if err != nil {
			return b.out, err
		}
	}
	for _, sum := range b.out.Epochs {
		for _, n := range sum.Dropped() {
			b.out.Dropped += n
		}
	}
	return b.out, b.rows.endHour()
}

// pair is the event object of an archived plan, its statistics object, or both. Key is the key of the event object.
type pair struct {
	uploader.Object
	events, statistics bool
}

type rebuilder struct {
	RebuildOptions
	t       uploader.Target
	out     *Rebuilt
	shared  map[string]bool // keys of objects that may share events with others
	counted covered         // events of these objects that have been counted
	strict  bool            // do not count an object that may repeat events if it is unknown which events it repeats

	rows hourRows
}

// pairs lists the selected objects hour by hour. Within an hour, pairs without an event object come first, because these can only be
// counted as a whole.
func (b *rebuilder) pairs(ctx context.Context) ([]pair, error) {
	byKey := map[string]*pair{}
	add := func(o uploader.Object) *pair {
		if !isOf(b.Service, b.Instance, o.Service, o.Instance) {
			return &pair{}
		}
		if byKey[o.Key] == nil {
			byKey[o.Key] = &pair{Object: o}
		}
		return byKey[o.Key]
	}
	err := List(ctx, b.t, b.Range, func(o uploader.Object) error {
		add(o).events = true
		return nil
	})
	if err == nil && b.From != FromEvents {
		err = listStatistics(ctx, b.t, b.Range, func(o uploader.Object) error {
			o.Size = 0 // Size is the size of the statistics object
			add(o).statistics = true
			return nil
		})
	}
	var pairs []pair
	for _, p := range byKey {
		if b.From != FromStatistics || p.statistics {
			pairs = append(pairs, *p)
		}
	}
	rank := func(p *pair) int {
		if p.events {
			return 1
		}
		return 0
	}
	slices.SortFunc(pairs, func(x, y pair) int {
		return cmp.Or(x.Hour.Compare(y.Hour), cmp.Compare(rank(&x), rank(&y)), strings.Compare(x.Key, y.Key))
	})
	return pairs, err
}

// add counts those events of an object that have not been counted yet.
func (b *rebuilder) add(ctx context.Context, p *pair) error {
	fromEvents := !p.statistics
	c, err := b.examine(ctx, p, fromEvents)
	if skippable(err) && !fromEvents && p.events && b.From != FromStatistics {
		b.problem(p, uploader.StatsKey(p.Key)+": ", err)
		fromEvents = true
		c, err = b.examine(ctx, p, true)
	}
	if err != nil {
		return err
	}
	meta, err := b.eventsMeta(ctx, p, c, fromEvents)
	if err != nil {
		return err
	}
	runs, skip := c.Runs, uint64(0)
	if b.shared[p.Key] && !fromEvents {
		if runs == nil {
			if runs, err = b.runsOf(p, meta, c.Rows); err != nil {
				return err
			}
		}
		if runs == nil && p.events || catalogue.Overlap(b.counted[p.Epoch], runs) && !b.counted.whole(p.Epoch, runs) {
			if !p.events {
				return uploader.Damagedf("other objects have some of its events, and its event object, which would tell which, no longer exists: none of it is counted")
			}
			fromEvents = true // only the events themselves show what has already been counted
			if c, err = b.examine(ctx, p, true); err != nil {
				return err
			}
			meta, runs = c.Meta, c.Runs
		}
	}
	switch {
	case b.counted.whole(p.Epoch, runs):
		skip = c.Rows
	case fromEvents:
		b.out.FromEvents++
		skip, err = b.addEvents(ctx, p, c)
	default:
		b.out.FromStatistics++
		err = b.addStatistics(ctx, p, c)
	}
	if err != nil {
		return err
	}
	if skip > 0 {
		b.out.Repeated = append(b.out.Repeated, Repeated{Key: p.Key, Responses: skip, Of: c.Rows})
	}
	if b.shared[p.Key] {
		b.counted.add(p.Epoch, runs)
	}
	return b.enter(ctx, p, c, meta, fromEvents, skip)
}

func (b *rebuilder) problem(p *pair, where string, err error) {
	b.out.Problems = append(b.out.Problems, Problem{p.Key, where + trim(p.Key, err)})
}

// runsOf returns the runs in an object's metadata, or nil if there was no room for them.
func runsOf(meta map[string]string, rows uint64) ([]catalogue.Run, error) {
	runs, err := uploader.ParseRuns(meta[uploader.MetaRuns])
	if err != nil || runs == nil {
		if err != nil {
			err = uploader.Damagedf("%v", err)
		}
		return nil, err
	}
	events := uint64(0)
	for i, r := range runs {
		if i > 0 && r.First <= runs[i-1].Last {
			return nil, uploader.Damagedf("its metadata names sequence numbers that do not ascend")
		}
		events += r.Last - r.First + 1
	}
	if events < rows {
		return nil, uploader.Damagedf("its metadata names %d sequence numbers for %d responses", events, rows)
	}
	return runs, nil
}

// examine reads an object to its end without counting anything, and compares it with its metadata.
func (b *rebuilder) examine(ctx context.Context, p *pair, fromEvents bool) (c *uploader.Contents, err error) {
	if fromEvents {
		c, err = scan(ctx, b.t, p.Key)
	} else {
		c, err = uploader.ScanStatistics(ctx, b.t, &p.Object, func(stats.Key, *stats.Row) error { return nil })
	}
	if err != nil {
		return c, err
	}
	return c, c.MatchesMeta()
}

// eventsMeta returns the metadata of the event object. If the event object has expired, it returns the metadata of the statistics object,
// which has the same entries.
func (b *rebuilder) eventsMeta(ctx context.Context, p *pair, c *uploader.Contents, fromEvents bool) (map[string]string, error) {
	if fromEvents || !p.events {
		return c.Meta, nil
	}
	info, err := b.t.Stat(ctx, p.Key)
	if err == nil {
		err = uploader.CheckFormat(p.Key, info.Meta)
	}
	if skippable(err) {
		b.problem(p, "", err)
		p.events = false
		return c.Meta, nil
	}
	return info.Meta, err
}

// errChanged ends a rebuild, because part of the object may already have been counted.
var errChanged = errors.New("object changed while it was read")

// addStatistics counts an examined statistics object.
func (b *rebuilder) addStatistics(ctx context.Context, p *pair, before *uploader.Contents) error {
	c, err := uploader.ScanStatistics(ctx, b.t, &p.Object, func(k stats.Key, row *stats.Row) error {
		sum := b.rows.row(k)
		before := sum.MemoryBytes()
		sum.Merge(row)
		return b.rows.relieve(sum.MemoryBytes() - before)
	})
	b.out.Responses += before.Rows
	return unchanged(p.Key, before, c, err)
}

// addEvents counts those events of an examined object that have not been counted yet, and returns how many responses it
// skipped.
func (b *rebuilder) addEvents(ctx context.Context, p *pair, before *uploader.Contents) (skipped uint64, err error) {
	hour, counted := stats.HourOf(p.Hour), b.counted[p.Epoch]
	c, err := uploader.ScanEvents(ctx, b.t, p.Key, func(_ []byte, l *uploader.Line) error {
		e, name := l.Event(), l.Row()
		if !e.IsResponse() {
			b.epoch(p).drop(p.Hour, l)
			return nil
		}
		if catalogue.Contains(counted, l.Seq) {
			skipped++
			return nil
		}
		sum := b.rows.row(stats.Key{Hour: hour, Host: name.Host, Method: name.Method, Label: name.Label, Route: name.Route})
		before := sum.MemoryBytes()
		sum.Add(&e)
		return b.rows.relieve(sum.MemoryBytes() - before)
	})
	b.out.Responses += before.Rows - skipped
	return skipped, unchanged(p.Key, before, c, err)
}

func unchanged(key string, before, now *uploader.Contents, err error) error {
	if err == nil && now.SHA256 != before.SHA256 {
		err = fmt.Errorf("its hash was %s and then %s", before.SHA256, now.SHA256)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", key, errChanged, err)
	}
	return nil
}

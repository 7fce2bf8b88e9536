package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// Origin says from what statistics are made again.
type Origin string

// The origins of [Rebuild].
const (
	// FromBest takes the statistics object where it is there, and the event object where it is not.
	FromBest Origin = "best"
	// FromStatistics takes statistics objects only.
	FromStatistics Origin = "statistics"
	// FromEvents folds event objects only.
	FromEvents Origin = "events"
)

// RebuildOptions say which statistics are wanted.
type RebuildOptions struct {
	Range             // whole hours: an hour that is touched is made whole
	Service, Instance string
	From              Origin   // empty means FromBest
	Expect            Expected // used up
	Progress          func(done, total int, key string)
	// Hour, which may be nil, gets the rows of each hour, hours ascending, rows ordered by host, method and label. An hour whose
	// rows take more than some 32 MiB comes in several parts, which are to be added up, unless Whole is set: then that is an error.
	Hour  func(keys []stats.Key, rows []*stats.Row) error
	Whole bool
}

// Rebuilt says what statistics were made from.
type Rebuilt struct {
	Rows           int    `json:"rows"`
	Hours          int    `json:"hours"`
	Responses      uint64 `json:"responses"`
	FromStatistics int    `json:"from_statistics"` // objects
	FromEvents     int    `json:"from_events"`     // objects
	Dropped        uint64 `json:"dropped"`         // responses that could not be recorded, as far as drop records stand in the range
	// Repeated are objects with events that other objects have too: each event is counted once.
	Repeated []Repeated `json:"repeated,omitempty"`
	// Problems are objects that are missing or damaged, or hold something else than they say. Nothing of them is counted.
	Problems []Problem `json:"problems,omitempty"`
	// Epochs by identity.
	Epochs map[uuid.UUID]*EpochSum `json:"-"`
}

// Repeated is an object of whose responses some were left out.
type Repeated struct {
	Key       string `json:"key"`
	Responses uint64 `json:"responses"` // left out
	Of        uint64 `json:"of"`
}

// EpochSum is what the archive holds of an epoch.
type EpochSum struct {
	LastSeq   uint64
	Responses uint64
	Told      map[int64]stats.Drops // by hour, what drop records say; they expire with their objects
	Plans     []catalogue.Plan      // its objects, as a catalogue would have them
}

// Dropped is what the last drop record of each reason says.
func (e *EpochSum) Dropped() map[string]uint64 {
	last, out := stats.Drops{}, map[string]uint64{}
	for _, told := range e.Told {
		last.Merge(told)
	}
	for reason, d := range last {
		out[reason] = d.Responses
	}
	return out
}

// Rebuild makes the hourly statistics again from the archive alone. Every object is read to its end and compared with its metadata
// before anything of it is counted, and every event is counted once, however many objects have it. An object that is damaged is left
// out and reported. An error means that the target could not be read, or was written by a newer wayside.
func Rebuild(ctx context.Context, t uploader.Target, o RebuildOptions) (*Rebuilt, error) {
	b := &rebuilder{RebuildOptions: o, t: t, out: &Rebuilt{Epochs: map[uuid.UUID]*EpochSum{}}, counted: covered{}}
	pairs, err := b.pairs(ctx)
	if err != nil {
		return b.out, err
	}
	for i := range pairs {
		o.Expect.met(pairs[i].Key)
	}
	b.out.Problems = o.Expect.missing(o.Service, o.Instance)
	b.shared = overlaps(pairs, func(p *pair) *Object { return &p.Object })
	for i := range pairs {
		p := &pairs[i]
		if o.Progress != nil {
			o.Progress(i, len(pairs), p.Key)
		}
		if i > 0 && !p.Hour.Equal(pairs[i-1].Hour) {
			if err := b.endHour(); err != nil {
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
	return b.out, b.endHour()
}

// pair is an archived plan: its event object, its statistics object, or both. Key is that of the events.
type pair struct {
	Object
	events, statistics bool
}

type rebuilder struct {
	RebuildOptions
	t       uploader.Target
	out     *Rebuilt
	shared  map[string]bool // keys of objects whose events others may have
	counted covered         // of those
	strict  bool            // an object that may repeat events is not counted, unless it is known which

	rows    map[stats.Key]*stats.Row // of the present hour
	bytes   int                      // about what they take
	flushed bool                     // a part of the hour was handed out
}

// hourBytesMax is what the rows of an hour may take.
const hourBytesMax = 32 << 20

// pairs lists what is wanted, hour by hour. Within an hour those without events come first: they cannot be divided.
func (b *rebuilder) pairs(ctx context.Context) ([]pair, error) {
	byKey := map[string]*pair{}
	add := func(o Object, mark func(*pair)) error {
		if b.Service != "" && b.Service != o.Service || b.Instance != "" && b.Instance != o.Instance {
			return nil
		}
		p := byKey[o.Key]
		if p == nil {
			p = &pair{Object: o}
			byKey[o.Key] = p
		}
		mark(p)
		return tooMany(len(byKey))
	}
	err := List(ctx, b.t, b.Range, func(o Object) error {
		return add(o, func(p *pair) { p.events, p.Size = true, o.Size })
	})
	if err == nil && b.From != FromEvents {
		err = b.t.List(ctx, uploader.StatsPrefix, func(info uploader.ObjectInfo) error {
			o, err := ParseKey(uploader.EventsKey(info.Key))
			if err != nil || !b.Touches(o.Hour) {
				return nil //nolint:nilerr // somebody else's file
			}
			return add(o, func(p *pair) { p.statistics = true })
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

// add counts an object, as far as its events are not counted yet.
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
		if runs, err = b.runsOf(p, meta, c.Rows); err != nil {
			return err
		}
		if runs == nil && p.events || catalogue.Overlap(b.counted[p.Epoch], runs) && !b.counted.whole(p.Epoch, runs) {
			if !p.events {
				return damagedf("other objects have a part of its events, and its own are gone, which would say what that part counts: nothing of it is counted")
			}
			fromEvents = true // only the events say what is counted already
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

// runsOf are the runs that metadata name, nil if they had no room.
func runsOf(meta map[string]string, rows uint64) ([]catalogue.Run, error) {
	runs, err := uploader.ParseRuns(meta[uploader.MetaRuns])
	if err != nil || runs == nil {
		if err != nil {
			err = damagedf("%v", err)
		}
		return nil, err
	}
	events := uint64(0)
	for i, r := range runs {
		if i > 0 && r.First <= runs[i-1].Last {
			return nil, damagedf("its metadata names sequence numbers that do not ascend")
		}
		events += r.Last - r.First + 1
	}
	if events < rows {
		return nil, damagedf("its metadata names %d sequence numbers for %d responses", events, rows)
	}
	return runs, nil
}

// examine reads an object to its end without counting anything, and holds it to its metadata.
func (b *rebuilder) examine(ctx context.Context, p *pair, fromEvents bool) (c *Contents, err error) {
	if fromEvents {
		c, err = Scan(ctx, b.t, p.Key, nil)
	} else {
		c, err = scanStatistics(ctx, b.t, &p.Object, func(stats.Key, *stats.Row) error { return nil })
	}
	if err != nil {
		return c, err
	}
	return c, c.asAnnounced()
}

// eventsMeta are the metadata of the event object, or where that has expired, of the statistics, which say the same of it.
func (b *rebuilder) eventsMeta(ctx context.Context, p *pair, c *Contents, fromEvents bool) (map[string]string, error) {
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

// errChanged ends a rebuild: a part of the object may be counted already.
var errChanged = errors.New("object changed while it was read")

// addStatistics counts an examined statistics object.
func (b *rebuilder) addStatistics(ctx context.Context, p *pair, before *Contents) error {
	c, err := scanStatistics(ctx, b.t, &p.Object, func(k stats.Key, row *stats.Row) error {
		sum := b.row(k)
		before := sum.MemoryBytes()
		sum.Merge(row)
		return b.relieve(sum.MemoryBytes() - before)
	})
	b.out.Responses += before.Rows
	return unchanged(p.Key, before, c, err)
}

// addEvents counts those events of an examined object that are not counted yet, and returns how many responses were.
func (b *rebuilder) addEvents(ctx context.Context, p *pair, before *Contents) (skipped uint64, err error) {
	hour, counted := p.Hour.Unix()/3600, b.counted[p.Epoch]
	c, err := scanEvents(ctx, b.t, p.Key, func(_ []byte, l *uploader.Line) error {
		e, name := l.Event(), l.Row()
		if !e.IsResponse() {
			b.drop(p, l)
			return nil
		}
		if catalogue.Contains(counted, l.Seq) {
			skipped++
			return nil
		}
		sum := b.row(stats.Key{Hour: hour, Host: name.Host, Method: name.Method, Label: name.Label})
		before := sum.MemoryBytes()
		sum.Add(&e)
		return b.relieve(sum.MemoryBytes() - before)
	})
	b.out.Responses += before.Rows - skipped
	return skipped, unchanged(p.Key, before, c, err)
}

func unchanged(key string, before, now *Contents, err error) error {
	if err == nil && now.SHA256 != before.SHA256 {
		err = fmt.Errorf("hash %s, then %s", before.SHA256, now.SHA256)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", key, errChanged, err)
	}
	return nil
}

// enter adds the object to its epoch's sum, with a catalogue entry. Statistics know nothing of drops: where the events' object
// says that it holds more lines than responses, it is read for them.
func (b *rebuilder) enter(ctx context.Context, p *pair, c *Contents, meta map[string]string, fromEvents bool, skip uint64) error {
	sum := b.sum(p)
	sum.Responses += c.Rows - skip
	sum.LastSeq = max(sum.LastSeq, p.Last)
	plan := b.plan(p, c, meta, fromEvents)
	plan.Target = uploader.NameAt(ctx, b.t, p.Key)
	plan.Adopted, plan.Elsewhere = skip > 0, skip
	sum.Plans = append(sum.Plans, plan)
	if fromEvents || !p.events || plan.Lines <= c.Rows {
		return nil
	}
	_, err := scanEvents(ctx, b.t, p.Key, func(_ []byte, l *uploader.Line) error {
		if l.Kind == "drop" {
			b.drop(p, l)
		}
		return nil
	})
	if skippable(err) { // what it counts is known all the same
		b.problem(p, "its drop records are not counted: ", err)
		return nil
	}
	return err
}

// plan is the catalogue entry of an object, as far as it can be known.
func (b *rebuilder) plan(p *pair, c *Contents, meta map[string]string, fromEvents bool) catalogue.Plan {
	plan := catalogue.Plan{
		State: catalogue.Deleted, Hour: p.Hour.Unix() / 3600, Epoch: p.Epoch, Key: p.Key, FormatVersion: uploader.FormatVersion,
		Service: p.Service, Instance: p.Instance, Rows: c.Rows, MaxTime: p.Hour, ObjectBytes: uint64(max(p.Size, 0)), //nolint:gosec // not negative
	}
	if fromEvents {
		plan.ObjectSHA256 = c.SHA256
	} else {
		plan.StatsKey, plan.StatsRows, plan.StatsBytes, plan.StatsSHA256 = uploader.StatsKey(p.Key), c.Lines, c.Bytes, c.SHA256
		if !p.events {
			plan.ExpiredAt = p.Hour // when is not known
			return plan
		}
	}
	plan.Lines, _ = strconv.ParseUint(meta[uploader.MetaLines], 10, 64)
	plan.RawBytes, _ = strconv.ParseUint(meta[uploader.MetaRawBytes], 10, 64)
	plan.RawSHA256 = meta[uploader.MetaRawSHA256]
	plan.Runs, _ = uploader.ParseRuns(meta[uploader.MetaRuns]) // nil: not known
	return plan
}

package reader

import (
	"context"
	"errors"
	"math"
	"net/url"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// RefillOptions say what of an archive is missing in a store.
type RefillOptions struct {
	Service, Instance string // whose objects
	// Wanted reports whether the responses of an epoch are, and from which sequence number on they are counted already; 0: none is.
	Wanted func(epoch uuid.UUID) (from uint64, wanted bool)
	// Entries reads the catalogue, by key of the object. It is called after the archive was listed: what the store itself archives
	// meanwhile is in its catalogue before it is in the archive.
	Entries func() (map[string]Entry, error)
}

// Entry is what a store's catalogue says of an object.
type Entry struct {
	ID      uint64
	Counted bool            // all that can be is: the object is the store's own, or was refilled
	Runs    []catalogue.Run // of its events; nil: not known
}

// EntryOf is what a catalogue entry says.
func EntryOf(p *catalogue.Plan) Entry {
	return Entry{ID: p.ID, Counted: !p.Adopted || p.Refilled, Runs: p.Runs}
}

// Missing is the objects of an archive whose responses a store does not count, those of the newest hour first. They are read one
// after the other: what one of them holds is not in those that follow.
type Missing struct {
	b     *rebuilder
	pairs []pair
	// Empty: the archive has no object at all. It may be another one than it was, such as a folder on which nothing is mounted.
	Empty bool
}

// FindMissing lists the archive.
func FindMissing(ctx context.Context, t uploader.Target, o RefillOptions) (*Missing, error) {
	m := &Missing{b: &rebuilder{
		RebuildOptions: RebuildOptions{Service: asInKeys(o.Service), Instance: asInKeys(o.Instance), Whole: true}, t: t, counted: covered{},
		strict: true,
	}}
	all, err := m.b.pairs(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := o.Entries()
	if err != nil {
		return nil, err
	}
	m.Empty = len(all) == 0
	all = slices.DeleteFunc(all, func(p pair) bool { _, wanted := o.Wanted(p.Epoch); return !wanted })
	m.b.shared = overlaps(all, func(p *pair) *Object { return &p.Object })
	for i := range all {
		p := &all[i]
		if from, _ := o.Wanted(p.Epoch); from > 0 {
			m.b.counted.add(p.Epoch, []catalogue.Run{{First: from, Last: math.MaxUint64}})
			m.b.shared[p.Key] = m.b.shared[p.Key] || p.Last >= from
		}
		entry := entries[p.Key]
		switch {
		case !entry.Counted:
			m.pairs = append(m.pairs, *p)
		case m.b.shared[p.Key] && entry.Runs != nil:
			m.b.counted.add(p.Epoch, entry.Runs)
		case m.b.shared[p.Key]:
			m.b.counted.add(p.Epoch, []catalogue.Run{{First: p.First, Last: p.Last}})
		}
	}
	slices.SortStableFunc(m.pairs, func(x, y pair) int { return y.Hour.Compare(x.Hour) })
	return m, nil
}

// asInKeys is the name of a service or an instance as the keys of its objects have it: a long one is cut off.
func asInKeys(name string) string {
	cut, err := url.PathUnescape(string(catalogue.AppendName(nil, name)))
	if err != nil {
		return name
	}
	return cut
}

// Len is the number of objects.
func (m *Missing) Len() int { return len(m.pairs) }

// Object is one of them.
func (m *Missing) Object(i int) *Object { return &m.pairs[i].Object }

// Contribution is what an object adds to the figures of a store.
type Contribution struct {
	Plan catalogue.Plan // its catalogue entry
	Keys []stats.Key    // of Rows, ordered by host, method and label
	Rows []*stats.Row   // statistics of those of its responses that are not counted yet
	Told map[int64]stats.Drops
	// Problems are what was wrong with it, although some of it could be counted.
	Problems []Problem
}

// Read reads an object to its end, compares it with its metadata, and returns what it adds. The error wraps [uploader.ErrDamaged] or
// [uploader.ErrNotFound] if it is the object's fault: the others can still be read.
func (m *Missing) Read(ctx context.Context, i int) (*Contribution, error) {
	p, b := &m.pairs[i], m.b
	c := &Contribution{}
	b.rows, b.bytes, b.out = nil, 0, &Rebuilt{Epochs: map[uuid.UUID]*EpochSum{}}
	b.Hour = func(keys []stats.Key, rows []*stats.Row) error {
		c.Keys, c.Rows = keys, rows
		return nil
	}
	if err := errors.Join(b.add(ctx, p), b.flush()); err != nil {
		return nil, err
	}
	sum := b.out.Epochs[p.Epoch]
	c.Plan, c.Told, c.Problems = sum.Plans[0], sum.Told, b.out.Problems
	return c, nil
}

// runsOf are the runs that an object's metadata name; nil if they had no room. Whoever must not count anything twice takes all that
// lies between the bounds in the object's name then.
func (b *rebuilder) runsOf(p *pair, meta map[string]string, rows uint64) ([]catalogue.Run, error) {
	runs, err := runsOf(meta, rows)
	if err == nil && runs == nil && b.strict {
		runs = []catalogue.Run{{First: p.First, Last: p.Last}}
	}
	return runs, err
}

// Skippable reports whether an error is the fault of one object, so that the others can still be read. One that a newer wayside wrote
// is left to that.
func Skippable(err error) bool {
	return skippable(err) || errors.Is(err, uploader.ErrNewerFormat) || errors.Is(err, errTooManyRows)
}

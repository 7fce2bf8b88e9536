package reader

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// RefillOptions determine which responses are missing from a store.
type RefillOptions struct {
	Service, Instance string // the service and instance whose objects are read
	// Wanted reports whether responses of an epoch are missing, and which of the epoch's events have already been counted.
	Wanted func(epoch uuid.UUID) (counted []catalogue.Run, wanted bool)
	// Entries reads the catalogue, by object key. It is called after the archive has been listed. An object is entered in the catalogue
	// before it is written to the archive, so every listed object that this store has archived is in the result.
	Entries func() (map[string]Entry, error)
	// MinutesFrom is the first minute, since 1970, that the store keeps. For objects of later hours, the minutes are computed from the
	// events.
	MinutesFrom int64
}

// Entry describes an object in a store's catalogue.
type Entry struct {
	ID      uint64
	Counted bool            // whether nothing more can be counted: the object was written by this store, or has been refilled
	Runs    []catalogue.Run // sequence numbers of its events; nil if unknown
}

// EntryOf returns the entry of a plan.
func EntryOf(p *catalogue.Plan) Entry {
	return Entry{ID: p.ID, Counted: !p.Imported || p.Refilled, Runs: p.Runs}
}

// Missing lists the objects of an archive that have responses not counted by a store, newest hour first. They must be read in this order,
// because events of earlier objects are skipped in later ones.
type Missing struct {
	b     *rebuilder
	pairs []pair
	from  int64 // RefillOptions.MinutesFrom
	// Empty means that the archive has no objects. In that case, it may be the wrong archive, such as a folder on which nothing is
	// mounted.
	Empty bool
}

// FindMissing lists the archive and compares it with the catalogue.
func FindMissing(ctx context.Context, t uploader.Target, o RefillOptions) (*Missing, error) {
	m := &Missing{from: o.MinutesFrom, b: &rebuilder{
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
	m.b.shared = overlaps(all, func(p *pair) *uploader.Object { return &p.Object })
	for i := range all {
		p := &all[i]
		counted, _ := o.Wanted(p.Epoch)
		m.b.counted.add(p.Epoch, counted)
		for _, run := range counted {
			m.b.shared[p.Key] = m.b.shared[p.Key] || p.Last >= run.First && p.First <= run.Last
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

// asInKeys returns the name of a service or an instance in the form used in keys, where long names are truncated.
func asInKeys(name string) string {
	cut, err := url.PathUnescape(string(catalogue.AppendName(nil, name)))
	if err != nil {
		return name
	}
	return cut
}

// Len returns the number of objects.
func (m *Missing) Len() int { return len(m.pairs) }

// Object returns the object with index i.
func (m *Missing) Object(i int) *uploader.Object { return &m.pairs[i].Object }

// Contribution holds the statistics that an object adds to a store.
type Contribution struct {
	Plan catalogue.Plan // the object's catalogue entry
	Keys []stats.Key    // keys of Rows, ordered by host, method and label
	Rows []*stats.Row   // statistics of the object's responses that have not been counted yet
	// Minutes holds the minutes of Rows. It is nil if the minutes are too old or unknown.
	Minutes [][]stats.EncodedMinute
	// Drops holds the object's drop records by hour.
	Drops map[int64]stats.Drops
	// Problems are faults of the object that did not prevent it from being counted.
	Problems []Problem
}

// Read reads an object to its end, compares it with its metadata, and returns its contribution. The error wraps [uploader.ErrDamaged] or
// [uploader.ErrNotFound] if it concerns only this object; in that case, the other objects can still be read.
func (m *Missing) Read(ctx context.Context, i int) (*Contribution, error) {
	p, b := &m.pairs[i], m.b
	c := &Contribution{}
	b.out = &Rebuilt{Epochs: map[uuid.UUID]*EpochSum{}}
	b.rows = hourRows{whole: b.Whole, out: b.out, emit: func(keys []stats.Key, rows []*stats.Row) error {
		c.Keys, c.Rows = keys, rows
		return nil
	}}
	if err := errors.Join(b.add(ctx, p), b.rows.flush()); err != nil {
		return nil, err
	}
	sum := b.out.Epochs[p.Epoch]
	c.Plan, c.Drops, c.Problems = sum.Plans[0], sum.Drops, b.out.Problems
	if !p.events || (stats.HourOf(p.Hour)+1)*stats.HourMinutes <= m.from {
		return c, nil
	}
	var err error
	c.Minutes, err = b.readMinutes(ctx, p, c.Keys, c.Rows)
	return c, err
}

// runsOf returns the runs in an object's metadata, or nil if there was no room for them. If strict is set, it returns the whole range in
// the object's name instead of nil; then nothing is counted twice.
func (b *rebuilder) runsOf(p *pair, meta map[string]string, rows uint64) ([]catalogue.Run, error) {
	runs, err := runsOf(meta, rows)
	if err == nil && runs == nil && b.strict {
		runs = []catalogue.Run{{First: p.First, Last: p.Last}}
	}
	return runs, err
}

// Skippable reports whether an error concerns a single object, so the others can still be read. This includes an object that a newer
// wayside wrote: only that version can read it.
func Skippable(err error) bool {
	return skippable(err) || errors.Is(err, uploader.ErrNewerFormat) || errors.Is(err, errTooManyRows)
}

package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Defaults of a Builder.
const (
	windowDefault = 24 * time.Hour
	topRows       = 100
)

// Document is the JSON of a snapshot. Counts in Totals equal the sum over Paths.
type Document struct {
	Version     uint64    `json:"version"`
	GeneratedAt time.Time `json:"generated_at"`
	// Window is the time that was asked for. Rows are by the hour, so the figures begin with the hour in which it begins, and cover
	// up to an hour more; or less, where the books are younger. From, To and the seconds of each row say what is covered.
	Window  string            `json:"window"`
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Through map[string]uint64 `json:"through"` // epoch → last sequence number that is counted
	Totals  Figures           `json:"totals"`
	// Paths are the hundred rows with the most responses, then one row "(other)" for all the rest.
	Paths []Row `json:"paths"`
}

// Builder makes snapshots. It belongs to one goroutine.
//
// Hours that are over rarely change, so they are merged once ("base") and only hours touched since are read again ("hot"):
// a snapshot a second costs one hour's rows, not a day's. When a touched hour is part of the base, or the window moves on,
// the base is merged anew.
type Builder struct {
	source RowSource
	window time.Duration
	rules  func() *paths.Rules
	merged *paths.Rules // by which the entries were named

	entries  map[name]*entry
	order    []*entry // scratch
	valid    bool     // base is usable
	from, to int64    // hours [from, to) of the window that base was made for
	hot      map[int64]bool
	touched  map[int64]bool // since the last Build

	version uint64
	zip     *gzip.Writer

	// scratch rows
	row, other, totals stats.Row
}

// entry is one row of the window in its two parts.
type entry struct {
	name
	base, hot stats.Row
	count     uint64
}

// NewBuilder makes snapshots over the window (0: 24 hours).
//
// rules say which rows are shown as one; nil: none are.
func NewBuilder(source RowSource, window time.Duration, rules func() *paths.Rules) *Builder {
	if rules == nil {
		rules = func() *paths.Rules { return nil }
	}
	if window <= 0 {
		window = windowDefault
	}
	return &Builder{
		source: source, window: window, rules: rules,
		entries: map[name]*entry{}, hot: map[int64]bool{}, touched: map[int64]bool{},
		zip: gzip.NewWriter(nil),
	}
}

// Touch notes that rows of this hour (since 1970) have changed.
func (b *Builder) Touch(hour int64) { b.touched[hour] = true }

// Reset forgets everything that was read: the next Build reads all hours anew.
func (b *Builder) Reset() {
	b.valid = false
	clear(b.entries)
}

// Stale reports whether a new snapshot would say anything else than the last: rows were touched, or the window moved.
func (b *Builder) Stale(now time.Time) bool {
	return len(b.touched) > 0 || !b.valid || b.span(now) != hours{b.from, b.to}
}

// span is the hours of a window that ends now: those in which it begins and ends, and all between.
func (b *Builder) span(now time.Time) hours {
	return hours{floorHour(now.Add(-b.window)), floorHour(now) + 1}
}

// Build reads what has changed and returns the next version. through are the watermarks of what the rows include.
func (b *Builder) Build(ctx context.Context, now time.Time, through map[uuid.UUID]uint64) (*snapshot.Snapshot, error) {
	if err := b.refresh(ctx, now); err != nil {
		b.valid = false
		return nil, fmt.Errorf("build snapshot: %w", err)
	}
	now = now.UTC().Truncate(time.Microsecond)
	doc := Document{
		// The clock carries the version over a restart; within a process it ascends even when the clock goes back.
		Version:     max(b.version+1, uint64(max(now.UnixMilli(), 0))), //nolint:gosec // not negative
		GeneratedAt: now,
		Window:      formatDuration(b.window),
		Through:     make(map[string]uint64, len(through)),
	}
	for epoch, seq := range through {
		doc.Through[epoch.String()] = seq
	}
	cover, span := coverageOf(b.source, now), hours{b.from, b.to}
	doc.From, doc.To = cover.within(span)
	err := b.table(&doc, cover.seconds(span))
	if err == nil {
		err = addDrops(ctx, b.source, span, func(int64) *Figures { return &doc.Totals })
	}
	if err != nil {
		return nil, fmt.Errorf("build snapshot: %w", err)
	}
	s, err := b.pack(&doc)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	b.version = doc.Version
	return s, nil
}

// refresh brings the entries up to date. touched is cleared only once everything was read, so a failure loses nothing.
func (b *Builder) refresh(ctx context.Context, now time.Time) error {
	span := b.span(now)
	from, to := span.from, span.to
	if rules := b.rules(); rules != b.merged {
		// Something was learnt: the same rows have other names.
		b.merged, b.valid = rules, false
		clear(b.entries)
	}
	if !b.valid || from != b.from || b.baseTouched(from, to) {
		if err := b.rebase(ctx, from, to); err != nil {
			return err
		}
	}
	for _, e := range b.entries {
		e.hot.Reset()
	}
	for hour := range b.hot {
		err := b.source.Rows(ctx, hour, hour+1, func(k stats.Key, r *stats.Row) error {
			return b.entry(k).hot.Merge(r)
		})
		if err != nil {
			return err
		}
	}
	clear(b.touched)
	return nil
}

// baseTouched reports whether an hour that the base includes has changed.
func (b *Builder) baseTouched(from, to int64) bool {
	for hour := range b.touched {
		if hour >= from && hour < to && !b.hot[hour] {
			return true
		}
	}
	return false
}

// rebase merges every hour of the window that is not being written to.
func (b *Builder) rebase(ctx context.Context, from, to int64) error {
	b.valid = false
	clear(b.hot)
	b.hot[to-1] = true
	for hour := range b.touched {
		if hour >= from && hour < to {
			b.hot[hour] = true
		}
	}
	for n, e := range b.entries {
		if e.count == 0 {
			delete(b.entries, n) // nothing of it in the window the last time
			continue
		}
		e.base.Reset()
	}
	for hour := from; hour < to; {
		if b.hot[hour] {
			hour++
			continue
		}
		end := hour + 1
		for end < to && !b.hot[end] {
			end++
		}
		err := b.source.Rows(ctx, hour, end, func(k stats.Key, r *stats.Row) error {
			return b.entry(k).base.Merge(r)
		})
		if err != nil {
			return err
		}
		hour = end
	}
	b.from, b.to, b.valid = from, to, true
	return nil
}

func (b *Builder) entry(k stats.Key) *entry {
	n := name{k.Host, k.Method, b.merged.Label(k.Host, k.Label)}
	e := b.entries[n]
	if e == nil {
		// The key may be as short-lived as the row.
		e = &entry{name: name{strings.Clone(n.host), strings.Clone(n.method), strings.Clone(n.label)}}
		b.entries[e.name] = e
	}
	return e
}

// table fills in totals and paths: counts decide the order, and only the rows that are shown get their sketches merged
// one by one.
func (b *Builder) table(doc *Document, seconds float64) error {
	b.order = b.order[:0]
	for _, e := range b.entries {
		e.count = e.base.Count + e.hot.Count
		if e.count > 0 {
			b.order = append(b.order, e)
		}
	}
	slices.SortFunc(b.order, func(x, y *entry) int {
		return cmp.Or(cmp.Compare(y.count, x.count), x.compare(y.name))
	})
	b.other.Reset()
	b.totals.Reset()
	for _, e := range b.order {
		if len(doc.Paths) == topRows || e.isOther() {
			if err := mergeBoth(&b.other, e); err != nil {
				return err
			}
			continue
		}
		b.row.CopyFrom(&e.base)
		if err := b.row.Merge(&e.hot); err != nil {
			return err
		}
		if err := b.totals.Merge(&b.row); err != nil {
			return err
		}
		doc.Paths = append(doc.Paths, Row{e.host, e.method, e.label, figuresOf(&b.row, seconds)})
	}
	if err := b.totals.Merge(&b.other); err != nil {
		return err
	}
	doc.Paths = append(doc.Paths, Row{paths.Other, paths.Other, paths.Other, figuresOf(&b.other, seconds)})
	doc.Totals = figuresOf(&b.totals, seconds)
	return nil
}

func mergeBoth(into *stats.Row, e *entry) error {
	if err := into.Merge(&e.base); err != nil {
		return err
	}
	return into.Merge(&e.hot)
}

// pack encodes and compresses a document.
func (b *Builder) pack(doc *Document) (*snapshot.Snapshot, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	var packed bytes.Buffer
	b.zip.Reset(&packed)
	if _, err := b.zip.Write(body); err != nil {
		return nil, err
	}
	if err := b.zip.Close(); err != nil {
		return nil, err
	}
	return &snapshot.Snapshot{
		Version: doc.Version, GeneratedAt: doc.GeneratedAt,
		ETag: fmt.Sprintf(`"%d-%08x"`, doc.Version, crc32.ChecksumIEEE(body)),
		JSON: body, Gzip: packed.Bytes(),
	}, nil
}

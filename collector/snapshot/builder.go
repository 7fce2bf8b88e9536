package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Defaults of a Builder.
const (
	windowDefault = 24 * time.Hour
	topRows       = 100
)

// Document is the JSON document of a snapshot. The counts in Totals equal the sum over Paths.
type Document struct {
	Version     uint64    `json:"version"`
	GeneratedAt time.Time `json:"generated_at"`
	// Window is the configured period. The figures begin with the first minute of the window. If the store lacks the minutes of that
	// hour, they begin with the hour; if the books were started within the window, they begin later. From, To and the seconds of each row
	// show the time that is actually covered.
	Window  string            `json:"window"`
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Through map[string]uint64 `json:"through"` // epoch → the last sequence number that is included
	Totals  Figures           `json:"totals"`
	// Paths are the hundred rows with the most responses, followed by one row "(other)" for all others.
	Paths []Row `json:"paths"`
}

// Builder makes snapshots. It must be used by one goroutine at a time.
//
// Past hours rarely change, so they are merged only once ("base"), and only hours that have changed since then are read again ("hot"). So
// a snapshot every second reads only the rows of one hour, not those of a whole day. The base is merged again if one of its hours
// changes, or when the window moves forward by an hour. The minutes at the beginning of the window ("edge") are read again every minute.
type Builder struct {
	source RowSource
	window time.Duration
	rules  func() *paths.Rules
	merged *paths.Rules // the rules by which the entries were merged

	entries  map[stats.Key]*entry // by key, without the hour
	order    []*entry             // scratch
	valid    bool                 // whether the base is usable
	edgeRead bool                 // whether the edge has been read
	span     Hours                // hours of the window for which the base was made, without the edge
	edge     Range                // the minutes before span; empty if the store lacks them
	hot      map[int64]bool
	touched  map[int64]bool // hours that have changed since the last Build

	version uint64
	zip     *gzip.Writer

	// Scratch rows.
	row, other, totals stats.Row
}

// entry is one row of the window, stored as parts that must be added up.
type entry struct {
	key       stats.Key // without the hour
	base, hot stats.Row
	edge      stats.Row
	count     uint64
}

// NewBuilder returns a builder of snapshots over the window (0: 24 hours). rules returns the rules for merging rows; if rules is nil, no
// rows are merged.
func NewBuilder(source RowSource, window time.Duration, rules func() *paths.Rules) *Builder {
	if rules == nil {
		rules = func() *paths.Rules { return nil }
	}
	if window <= 0 {
		window = windowDefault
	}
	return &Builder{
		source: source, window: window, rules: rules,
		entries: map[stats.Key]*entry{}, hot: map[int64]bool{}, touched: map[int64]bool{},
		zip: gzip.NewWriter(nil),
	}
}

// Touch records that rows of this hour (since 1970) have changed.
func (b *Builder) Touch(hour int64) { b.touched[hour] = true }

// Reset discards everything that was read. The next Build reads all hours again.
func (b *Builder) Reset() {
	b.valid = false
	clear(b.entries)
}

// Stale reports whether a new snapshot would differ from the last one, because rows have changed or the window has moved forward.
func (b *Builder) Stale(now time.Time) bool {
	span, edge := b.spanAt(now)
	return len(b.touched) > 0 || !b.valid || span != b.span || edge != b.edge && len(b.entries) > 0
}

// minuteSource is a RowSource that also has rows per minute for recent hours. The store implements it.
type minuteSource interface {
	MinutesKnown(from, to int64) bool
	// AddMinutes adds the rows of single minutes to the rows that rowsOf returns for their names. It skips names for
	// which rowsOf returns nil.
	AddMinutes(ctx context.Context, from, to int64, rowsOf func(stats.Key) func(minute int64) *stats.Row) error
}

// spanAt returns the two parts of a window that ends now: the minutes from its beginning to the next full hour, and the hours from there
// to the current one. If the store lacks these minutes, edge is empty and span also includes their hour.
func (b *Builder) spanAt(now time.Time) (span Hours, edge Range) {
	begin := stats.MinuteOf(now.Add(-b.window))
	span = Hours{stats.HourOfMinute(begin), stats.HourOf(now) + 1}
	s, ok := b.source.(minuteSource)
	next := (span.From + 1) * stats.HourMinutes
	if !ok || span.From+1 >= span.To || begin == span.From*stats.HourMinutes || !s.MinutesKnown(begin, next) {
		return span, Range{}
	}
	span.From++
	return span, Range{begin, next}
}

// windowRange returns the whole window in minutes.
func (b *Builder) windowRange() Range {
	r := b.span.Minutes()
	if b.edge != (Range{}) {
		r.From = b.edge.From
	}
	return r
}

// Build reads the rows that have changed and returns the next version. through gives the watermarks of the events that
// the rows include.
func (b *Builder) Build(ctx context.Context, now time.Time, through map[uuid.UUID]uint64) (*Snapshot, error) {
	if err := b.refresh(ctx, now); err != nil {
		b.valid = false
		return nil, fmt.Errorf("build snapshot: %w", err)
	}
	now = now.UTC().Truncate(time.Microsecond)
	doc := Document{
		// The version is based on the clock, so it increases across restarts. Within a process, it increases even if the clock is set
		// back.
		Version:     max(b.version+1, uint64(max(now.UnixMilli(), 0))),
		GeneratedAt: now,
		Window:      FormatDuration(b.window),
		Through:     make(map[string]uint64, len(through)),
	}
	for epoch, seq := range through {
		doc.Through[epoch.String()] = seq
	}
	cover := CoverageOf(b.source, now)
	window := b.windowRange()
	doc.From, doc.To = cover.Within(window)
	b.fillTable(&doc, cover.Seconds(window))
	if err := AddDrops(ctx, b.source, window.Hours(), func(int64) *Figures { return &doc.Totals }); err != nil {
		return nil, fmt.Errorf("build snapshot: %w", err)
	}
	s, err := b.pack(&doc)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	b.version = doc.Version
	return s, nil
}

// refresh brings the entries up to date. It clears touched only after everything has been read, so no change is lost after a failure.
func (b *Builder) refresh(ctx context.Context, now time.Time) error {
	span, edge := b.spanAt(now)
	if rules := b.rules(); rules != b.merged {
		// The labeler has learned something, so the same rows now have other names.
		b.merged, b.valid = rules, false
		clear(b.entries)
	}
	if !b.valid || span.From != b.span.From || b.baseTouched(span) {
		if err := b.rebase(ctx, span); err != nil {
			return err
		}
	}
	if err := b.readEdge(ctx, edge); err != nil {
		return err
	}
	for _, e := range b.entries {
		e.hot.Reset()
	}
	for hour := range b.hot {
		err := b.source.Rows(ctx, hour, hour+1, func(k stats.Key, r *stats.Row) error {
			b.entry(k).hot.Merge(r)
			return nil
		})
		if err != nil {
			return err
		}
	}
	clear(b.touched)
	return nil
}

// readEdge reads the minutes at the beginning of the window, unless they are the same as in the last Build.
func (b *Builder) readEdge(ctx context.Context, edge Range) error {
	if edge == b.edge && b.edgeRead && !b.touched[stats.HourOfMinute(edge.From)] {
		return nil
	}
	b.edge, b.edgeRead = edge, false
	for _, e := range b.entries {
		e.edge.Reset()
	}
	if edge != (Range{}) {
		err := b.source.(minuteSource).AddMinutes(ctx, edge.From, edge.To, func(k stats.Key) func(int64) *stats.Row {
			row := &b.entry(k).edge
			return func(int64) *stats.Row { return row }
		})
		if err != nil {
			return err
		}
	}
	b.edgeRead = true
	return nil
}

// baseTouched reports whether an hour that is part of the base has changed.
func (b *Builder) baseTouched(span Hours) bool {
	for hour := range b.touched {
		if hour >= span.From && hour < span.To && !b.hot[hour] {
			return true
		}
	}
	return false
}

// rebase merges all hours of the window into the base, except the current hour and those that have just changed.
func (b *Builder) rebase(ctx context.Context, span Hours) error {
	b.valid, b.edgeRead = false, false
	clear(b.hot)
	b.hot[span.To-1] = true
	for hour := range b.touched {
		if hour >= span.From && hour < span.To {
			b.hot[hour] = true
		}
	}
	for k, e := range b.entries {
		if e.count == 0 {
			delete(b.entries, k) // the row had no responses in the previous window
			continue
		}
		e.base.Reset()
	}
	for hour := span.From; hour < span.To; {
		if b.hot[hour] {
			hour++
			continue
		}
		end := hour + 1
		for end < span.To && !b.hot[end] {
			end++
		}
		err := b.source.Rows(ctx, hour, end, func(k stats.Key, r *stats.Row) error {
			b.entry(k).base.Merge(r)
			return nil
		})
		if err != nil {
			return err
		}
		hour = end
	}
	b.span, b.valid = span, true
	return nil
}

func (b *Builder) entry(k stats.Key) *entry {
	k.Hour, k.Label = 0, b.merged.Label(k.Host, k.Label)
	e := b.entries[k]
	if e == nil {
		e = &entry{key: k.Clone()}
		b.entries[e.key] = e
	}
	return e
}

// fillTable fills in totals and paths, sorted by count. It merges all rows that are not shown into one, so percentiles are computed for
// only about a hundred rows.
func (b *Builder) fillTable(doc *Document, seconds float64) {
	b.order = b.order[:0]
	for _, e := range b.entries {
		e.count = e.base.Count + e.hot.Count + e.edge.Count
		if e.count > 0 {
			b.order = append(b.order, e)
		}
	}
	slices.SortFunc(b.order, func(x, y *entry) int {
		return cmp.Or(cmp.Compare(y.count, x.count), x.key.Compare(y.key))
	})
	b.other.Reset()
	b.totals.Reset()
	for _, e := range b.order {
		if len(doc.Paths) == topRows || e.key.Label == paths.Other {
			b.other.Merge(&e.base)
			b.other.Merge(&e.hot)
			b.other.Merge(&e.edge)
			continue
		}
		b.row.CopyFrom(&e.base)
		b.row.Merge(&e.hot)
		b.row.Merge(&e.edge)
		b.totals.Merge(&b.row)
		doc.Paths = append(doc.Paths, RowOf(e.key, &b.row, seconds))
	}
	b.totals.Merge(&b.other)
	doc.Paths = append(doc.Paths, RowOf(stats.Key{Host: paths.Other, Method: paths.Other, Label: paths.Other}, &b.other, seconds))
	doc.Totals = FiguresOf(&b.totals, seconds)
}

// pack encodes and compresses a document.
func (b *Builder) pack(doc *Document) (*Snapshot, error) {
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
	return &Snapshot{
		Version: doc.Version, GeneratedAt: doc.GeneratedAt,
		ETag: fmt.Sprintf(`"%d-%08x"`, doc.Version, crc32.ChecksumIEEE(body)),
		JSON: body, Gzip: packed.Bytes(),
	}, nil
}

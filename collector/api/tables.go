package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// sorts maps the values of "sort" to the figures by which rows are sorted. The order is always descending.
var sorts = map[string]func(*stats.Row) uint64{
	"count":     func(r *stats.Row) uint64 { return r.Count },
	"rate":      func(r *stats.Row) uint64 { return r.Count }, // the range is the same for all rows
	"errors":    func(r *stats.Row) uint64 { return r.Errors },
	"p50":       func(r *stats.Row) uint64 { return r.Quantile(0.50) },
	"p90":       func(r *stats.Row) uint64 { return r.Quantile(0.90) },
	"p95":       func(r *stats.Row) uint64 { return r.Quantile(0.95) },
	"p99":       func(r *stats.Row) uint64 { return r.Quantile(0.99) },
	"max":       func(r *stats.Row) uint64 { return r.MaxMicros },
	"bytes_in":  func(r *stats.Row) uint64 { return r.BytesIn },
	"bytes_out": func(r *stats.Row) uint64 { return r.BytesOut },
}

// sortNames lists the keys of sorts for error messages.
const sortNames = "count, errors, rate, p50, p90, p95, p99, max, bytes_in, bytes_out"

// pathsAnswer is the body of GET /api/v1/paths. Totals cover every row that matches the filters, whether or not it is listed.
type pathsAnswer struct {
	From time.Time `json:"from"` // rounded to whole minutes or hours, see Resolution
	To   time.Time `json:"to"`
	// Resolution is 1m, or 1h if the range was widened to whole hours because the store lacks some minutes of the range.
	Resolution string           `json:"resolution"`
	Rows       int              `json:"rows"` // number found; Paths lists at most limit of them
	Totals     snapshot.Figures `json:"totals"`
	Before     *comparedRange   `json:"before,omitempty"` // only for a comparison
	Paths      []pathRow        `json:"paths"`
}

// comparedRange is the second range of a comparison.
type comparedRange struct {
	From   time.Time        `json:"from"`
	To     time.Time        `json:"to"`
	Totals snapshot.Figures `json:"totals"`
	Points []point          `json:"points,omitempty"` // only in a series
}

// pathRow is a row and its optional columns.
type pathRow struct {
	snapshot.Row
	// Matched is the number of responses with one of the requested HTTP or gRPC statuses. It is absent without such a
	// filter.
	Matched *uint64           `json:"matched,omitempty"`
	Before  *snapshot.Figures `json:"before,omitempty"` // only for a comparison: the same row in the other range
	Spark   []uint64          `json:"spark,omitempty"`  // only with spark: counts in equal parts of the range, oldest first
}

var pathsParams = []string{
	"from", "to", "sort", "limit", "method", "host", "prefix", "route", "status", "grpc", "compare", "compare_from", "compare_to", "spark",
}

func (h *handler) paths(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), pathsParams...)
	limit, keep := p.limit(), p.filter()
	span, before, comparing := h.spans(p)
	parts := p.spark(&span)
	by, known := sorts[cmp.Or(p.text("sort"), "count")]
	if !known {
		p.fail("sort=%q is not one of %s", p.text("sort"), sortNames)
	}
	if p.err != nil {
		return nil, p.err
	}
	if h.Rows == nil {
		return nil, ErrUnavailable
	}
	merged, err := h.mergeRows(r.Context(), &span, keep)
	if err != nil {
		return nil, err
	}
	answer := pathsAnswer{From: span.start(), To: span.end(), Resolution: span.resolution(), Rows: len(merged)}
	if answer.Totals, err = h.totalsOf(r.Context(), merged, &span, keep); err != nil {
		return nil, err
	}
	top := sorted(merged, by)
	top = top[:min(limit, len(top))]
	answer.Paths = make([]pathRow, len(top))
	for i, t := range top {
		answer.Paths[i].Row = snapshot.RowOf(t.key, t.row, answer.Totals.Seconds)
		if keep.byStatus() {
			matched := keep.countIn(t.row)
			answer.Paths[i].Matched = &matched
		}
	}
	if comparing {
		if err := h.compare(r.Context(), &answer, &before, keep); err != nil {
			return nil, err
		}
	}
	if parts > 0 {
		if err := h.sparks(r.Context(), &answer, &span, parts); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// ranked is a row with the figure by which it is listed.
type ranked struct {
	key stats.Key
	row *stats.Row
	by  uint64
}

// sorted lists rows in the requested order. It does not compute their figures, which are needed only for the listed rows.
func sorted(rows map[stats.Key]*stats.Row, by func(*stats.Row) uint64) []ranked {
	out := make([]ranked, 0, len(rows))
	for k, row := range rows {
		out = append(out, ranked{k, row, by(row)})
	}
	slices.SortFunc(out, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.by, a.by), cmp.Compare(b.row.Count, a.row.Count), a.key.Compare(b.key))
	})
	return out
}

// totalsOf adds up the rows that the filter has selected.
func (h *handler) totalsOf(ctx context.Context, rows map[stats.Key]*stats.Row, span *span, keep filter) (figures snapshot.Figures, err error) {
	var totals stats.Row
	for _, row := range rows {
		totals.Merge(row)
	}
	figures = snapshot.FiguresOf(&totals, snapshot.CoverageOf(h.Rows, h.Now()).Seconds(span.Range))
	if keep.everything() {
		err = snapshot.AddDrops(ctx, h.Rows, span.Range.Hours(), func(int64) *snapshot.Figures { return &figures })
	}
	return figures, err
}

// compare adds, to each listed row, the figures of that row in another range. The figures are zero if the row has no responses in that
// range.
func (h *handler) compare(ctx context.Context, answer *pathsAnswer, span *span, keep filter) error {
	all := keep
	all.status, all.grpc = nil, nil // a row is compared even if it had no response with these statuses in the other range
	merged, err := h.mergeRows(ctx, span, all)
	if err != nil {
		return err
	}
	totals, err := h.totalsOf(ctx, merged, span, keep)
	if err != nil {
		return err
	}
	answer.Before = &comparedRange{From: span.start(), To: span.end(), Totals: totals}
	for i := range answer.Paths {
		line := &answer.Paths[i]
		row := merged[line.key()]
		if row == nil {
			row = new(stats.Row)
		}
		f := snapshot.FiguresOf(row, totals.Seconds)
		line.Before = &f
	}
	return nil
}

// sparks adds a sparkline to each listed row.
func (h *handler) sparks(ctx context.Context, answer *pathsAnswer, span *span, parts int) error {
	lines := make(map[stats.Key][]uint64, len(answer.Paths))
	for i := range answer.Paths {
		line := &answer.Paths[i]
		line.Spark = make([]uint64, parts)
		lines[line.key()] = line.Spark
	}
	part := func(minute int64) int64 { return max(minute-span.From, 0) * int64(parts) / (span.To - span.From) }
	counts := sparkCounts{part: part, lines: func(k stats.Key) []uint64 { return lines[h.shownKey(k)] }}
	if span.minutes && span.To-span.From <= sparkMinutes && h.known(span.Range) {
		err := h.addRange(ctx, span.Range, counts.rowsOf)
		counts.flush()
		return err
	}
	if err := h.addMinutes(ctx, span, counts.rowsOf); err != nil {
		return err
	}
	counts.flush()
	listed := func(k stats.Key) bool { return lines[k] != nil }
	var mu sync.Mutex
	return halved(span.hours, 1, func(_ int, half snapshot.Hours) error {
		return h.rowsOf(ctx, half, listed, func(k stats.Key, row *stats.Row) error {
			if spark := counts.lines(k); spark != nil {
				mu.Lock()
				spark[part(k.Hour*stats.HourMinutes)] += row.Count
				mu.Unlock()
			}
			return nil
		})
	})
}

// sparkCounts adds the counts of single minutes to sparklines.
type sparkCounts struct {
	part  func(minute int64) int64
	lines func(stats.Key) []uint64
	row   stats.Row // the row of the latest minute; its count will be added to *to
	to    *uint64
}

func (c *sparkCounts) rowsOf(k stats.Key) func(int64) *stats.Row {
	line := c.lines(k)
	if line == nil {
		return nil
	}
	return func(minute int64) *stats.Row {
		c.flush()
		c.to = &line[c.part(minute)]
		return &c.row
	}
}

func (c *sparkCounts) flush() {
	if c.to != nil {
		*c.to += c.row.Count
	}
	c.row.Reset()
	c.to = nil
}

func (r *pathRow) key() stats.Key {
	return stats.Key{Host: r.Host, Method: r.Method, Label: r.Path, Route: r.Route}
}

// shownKey returns the name under which a row is currently shown. Rows from before and after a template was learned have the same shown
// name.
func (h *handler) shownKey(k stats.Key) stats.Key {
	k.Hour, k.Label = 0, h.Rules().Label(k.Host, k.Label)
	return k
}

// mergeRows adds up each row over a range. The memory that it uses is bounded by the number of rows, not by the length of the range.
func (h *handler) mergeRows(ctx context.Context, span *span, keep filter) (map[stats.Key]*stats.Row, error) {
	merged := map[stats.Key]*stats.Row{}
	walk, owned := h.Rows.Rows, false
	if s, ok := h.Rows.(sumSource); ok {
		walk, owned = s.Sums, true
	}
	err := walk(ctx, span.hours.From, span.hours.To, func(k stats.Key, row *stats.Row) error {
		k = h.shownKey(k)
		switch sum := merged[k]; {
		case !keep.keeps(k):
		case sum != nil:
			sum.Merge(row)
		case owned:
			merged[k] = row
		default:
			sum = new(stats.Row)
			sum.CopyFrom(row)
			merged[k.Clone()] = sum
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = h.addMinutes(ctx, span, func(k stats.Key) func(int64) *stats.Row {
		if k = h.shownKey(k); !keep.keeps(k) {
			return nil
		}
		return func(int64) *stats.Row {
			if merged[k] == nil {
				merged[k] = new(stats.Row)
			}
			return merged[k]
		}
	})
	if keep.byStatus() {
		maps.DeleteFunc(merged, func(_ stats.Key, row *stats.Row) bool { return keep.countIn(row) == 0 })
	}
	return merged, err
}

// rowsOf calls fn, hour by hour, with the rows that keep accepts. keep is called with the name under which a row is shown.
func (h *handler) rowsOf(ctx context.Context, span snapshot.Hours, keep func(stats.Key) bool, fn func(stats.Key, *stats.Row) error) error {
	wanted := func(k stats.Key) bool { return keep(h.shownKey(k)) }
	if s, ok := h.Rows.(sumSource); ok {
		return s.RowsOf(ctx, span.From, span.To, wanted, fn)
	}
	return h.Rows.Rows(ctx, span.From, span.To, func(k stats.Key, row *stats.Row) error {
		if !wanted(k) {
			return nil
		}
		return fn(k, row)
	})
}

// point is one step of a series.
type point struct {
	Time time.Time `json:"time"` // start of the step
	snapshot.Figures
	Bins *latencyBins `json:"latency_bins,omitempty"` // only with bins, and not in the range to compare with
}

// seriesAnswer is the body of GET /api/v1/series: every step of the range, including empty ones.
type seriesAnswer struct {
	Path   string    `json:"path,omitempty"` // absent if the series covers all rows that match the filters
	Method string    `json:"method,omitempty"`
	Host   string    `json:"host,omitempty"`
	Route  string    `json:"route,omitempty"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	// Resolution is 1m, or 1h if range and step were widened to whole hours because the store lacks some minutes of the
	// range.
	Resolution string           `json:"resolution"`
	Step       string           `json:"step"`
	Points     []point          `json:"points"`
	Totals     snapshot.Figures `json:"totals"`
	Before     *comparedRange   `json:"before,omitempty"` // only for a comparison
}

var seriesParams = []string{
	"path", "method", "host", "prefix", "route", "from", "to", "step", "bins", "compare", "compare_from", "compare_to",
}

func (h *handler) series(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), seriesParams...)
	step, bins, keep := p.step(), p.bins(), p.filter()
	span, before, comparing := h.spans(p)
	if step < stats.HourMinutes && !(h.known(span.Range) && (!comparing || h.known(before.Range))) {
		step = stats.HourMinutes
		span, before = hourly(span.Range.Hours()), hourly(before.Range.Hours())
	}
	most := int64(pointsMax)
	if bins > 0 {
		most = binPointsMax
	}
	if p.err == nil && (longest(&span, &before)-1)/step >= most {
		p.fail("this would make more than %d points: use a longer step or a shorter range", most)
	}
	if p.err != nil {
		return nil, p.err
	}
	if h.Rows == nil {
		return nil, ErrUnavailable
	}
	answer := seriesAnswer{
		Path: p.text("path"), Method: keep.method, Host: keep.host, Route: keep.route,
		From: span.start(), To: span.end(), Resolution: span.resolution(), Step: snapshot.FormatDuration(time.Duration(step) * time.Minute),
	}
	var err error
	if answer.Points, answer.Totals, err = h.points(r.Context(), &span, step, bins, keep); err != nil || !comparing {
		return answer, err
	}
	answer.Before = &comparedRange{From: before.start(), To: before.end()}
	answer.Before.Points, answer.Before.Totals, err = h.points(r.Context(), &before, step, 0, keep)
	return answer, err
}

func longest(a, b *span) int64 { return max(a.To-a.From, b.To-b.From) }

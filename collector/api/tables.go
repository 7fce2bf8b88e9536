package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// sorts are the orders that "sort" may ask for, all descending.
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

// sortNames lists the orders for the error message.
const sortNames = "count, errors, rate, p50, p90, p95, p99, max, bytes_in, bytes_out"

// pathsAnswer is the body of GET /api/v1/paths. Totals cover every row that the filters keep, listed or not.
type pathsAnswer struct {
	From   time.Time    `json:"from"` // the range used: whole hours
	To     time.Time    `json:"to"`
	Rows   int          `json:"rows"` // rows found; limit may list fewer
	Totals Figures      `json:"totals"`
	Before *rangeBefore `json:"before,omitempty"` // with compare
	Paths  []pathRow    `json:"paths"`
}

// rangeBefore is the range that an answer is compared with.
type rangeBefore struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Totals Figures   `json:"totals"`
	Points []point   `json:"points,omitempty"` // of a series
}

// pathRow is a row and what was asked for beside it.
type pathRow struct {
	Row
	// Matched is the number of responses with one of the statuses asked for; absent without a status filter.
	Matched *uint64  `json:"matched,omitempty"`
	Before  *Figures `json:"before,omitempty"` // with compare: the same row in the other range
	Spark   []uint64 `json:"spark,omitempty"`  // with spark: counts in equal parts of the range, oldest first
}

var pathsParams = []string{
	"from", "to", "sort", "limit", "method", "host", "prefix", "status", "compare", "compare_from", "compare_to", "spark",
}

func (h *handler) paths(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), pathsParams...)
	span, limit, keep := p.hours(), p.limit(), p.filter()
	before, comparing := p.compared(span)
	parts := p.spark(span)
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
	merged, err := h.mergeRows(r.Context(), span, keep)
	if err != nil {
		return nil, err
	}
	answer := pathsAnswer{From: hourTime(span.from), To: hourTime(span.to), Rows: len(merged)}
	if answer.Totals, err = h.totalsOf(r.Context(), merged, span, keep); err != nil {
		return nil, err
	}
	top := sorted(merged, by)
	top = top[:min(limit, len(top))]
	answer.Paths = make([]pathRow, len(top))
	for i, t := range top {
		answer.Paths[i].Row = Row{t.host, t.method, t.label, figuresOf(t.row, answer.Totals.Seconds)}
		if keep.status != nil {
			matched := among(keep.status, t.row)
			answer.Paths[i].Matched = &matched
		}
	}
	if comparing {
		if err := h.compare(r.Context(), &answer, before, keep); err != nil {
			return nil, err
		}
	}
	if parts > 0 {
		if err := h.sparks(r.Context(), &answer, span, parts); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// ranked is a row with the figure that it is listed by.
type ranked struct {
	name
	row *stats.Row
	by  uint64
}

// sorted lists rows in the order asked for. Figures are for those that are listed: making them of all takes longer.
func sorted(rows map[name]*stats.Row, by func(*stats.Row) uint64) []ranked {
	out := make([]ranked, 0, len(rows))
	for n, row := range rows {
		out = append(out, ranked{n, row, by(row)})
	}
	slices.SortFunc(out, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.by, a.by), cmp.Compare(b.row.Count, a.row.Count), a.compare(b.name))
	})
	return out
}

// covered is how many seconds of a range there are figures of.
func (h *handler) covered(span hours) float64 { return coverageOf(h.Rows, h.Now()).seconds(span) }

// totalsOf adds up the rows that a filter kept.
func (h *handler) totalsOf(ctx context.Context, rows map[name]*stats.Row, span hours, keep filter) (figures Figures, err error) {
	var totals stats.Row
	for _, row := range rows {
		if err := totals.Merge(row); err != nil {
			return figures, err
		}
	}
	figures = figuresOf(&totals, h.covered(span))
	if keep.everything() {
		err = addDrops(ctx, h.Rows, span, func(int64) *Figures { return &figures })
	}
	return figures, err
}

// compare adds each listed row's figures in another range. Rows that have none there get empty figures.
func (h *handler) compare(ctx context.Context, answer *pathsAnswer, span hours, keep filter) error {
	all := keep
	all.status = nil // a row that had no such response then is still the same row
	merged, err := h.mergeRows(ctx, span, all)
	if err != nil {
		return err
	}
	totals, err := h.totalsOf(ctx, merged, span, keep)
	if err != nil {
		return err
	}
	answer.Before = &rangeBefore{From: hourTime(span.from), To: hourTime(span.to), Totals: totals}
	for i := range answer.Paths {
		line := &answer.Paths[i]
		row := merged[line.name()]
		if row == nil {
			row = new(stats.Row)
		}
		f := figuresOf(row, totals.Seconds)
		line.Before = &f
	}
	return nil
}

// sparks adds each listed row's counts over time.
func (h *handler) sparks(ctx context.Context, answer *pathsAnswer, span hours, parts int) error {
	lines := make(map[name][]uint64, len(answer.Paths))
	for i := range answer.Paths {
		line := &answer.Paths[i]
		line.Spark = make([]uint64, parts)
		lines[line.name()] = line.Spark
	}
	length := span.to - span.from
	listed := func(n name) bool { return lines[n] != nil }
	var mu sync.Mutex
	return halved(span, 1, func(_ int, half hours) error {
		return h.rowsOf(ctx, half, listed, func(k stats.Key, row *stats.Row) error {
			if spark := lines[h.nameOf(k)]; spark != nil {
				mu.Lock()
				spark[(k.Hour-span.from)*int64(parts)/length] += row.Count
				mu.Unlock()
			}
			return nil
		})
	})
}

func (r *Row) name() name { return name{r.Host, r.Method, r.Path} }

// nameOf is the row under which older and newer statistics of the same path are shown.
func (h *handler) nameOf(k stats.Key) name {
	return name{k.Host, k.Method, h.Rules().Label(k.Host, k.Label)}
}

// mergeRows adds up each row over the hours. Memory is bounded by the number of rows, whatever the range.
func (h *handler) mergeRows(ctx context.Context, span hours, keep filter) (map[name]*stats.Row, error) {
	merged := map[name]*stats.Row{}
	walk, owned := h.Rows.Rows, false
	if s, ok := h.Rows.(sumSource); ok {
		walk, owned = s.Sums, true
	}
	err := walk(ctx, span.from, span.to, func(k stats.Key, row *stats.Row) error {
		n := h.nameOf(k)
		if !keep.keeps(n) {
			return nil
		}
		if sum := merged[n]; sum != nil {
			return sum.Merge(row)
		}
		if owned {
			merged[n] = row
			return nil
		}
		sum := new(stats.Row)
		sum.CopyFrom(row)
		// The key may be as short-lived as the row.
		merged[name{strings.Clone(n.host), strings.Clone(n.method), strings.Clone(n.label)}] = sum
		return nil
	})
	if keep.status != nil {
		for n, row := range merged {
			if among(keep.status, row) == 0 {
				delete(merged, n)
			}
		}
	}
	return merged, err
}

// rowsOf calls fn with the rows that are wanted, hour by hour.
func (h *handler) rowsOf(ctx context.Context, span hours, keep func(name) bool, fn func(stats.Key, *stats.Row) error) error {
	wanted := func(k stats.Key) bool { return keep(h.nameOf(k)) }
	if s, ok := h.Rows.(sumSource); ok {
		return s.RowsOf(ctx, span.from, span.to, wanted, fn)
	}
	return h.Rows.Rows(ctx, span.from, span.to, func(k stats.Key, row *stats.Row) error {
		if !wanted(k) {
			return nil
		}
		return fn(k, row)
	})
}

// point is one step of a series.
type point struct {
	Time time.Time `json:"time"` // start of the step
	Figures
}

// seriesAnswer is the body of GET /api/v1/series: every step of the range, empty ones included.
type seriesAnswer struct {
	Path   string       `json:"path,omitempty"` // absent: all that the filters keep
	Method string       `json:"method,omitempty"`
	Host   string       `json:"host,omitempty"`
	From   time.Time    `json:"from"`
	To     time.Time    `json:"to"`
	Step   string       `json:"step"`
	Points []point      `json:"points"`
	Totals Figures      `json:"totals"`
	Before *rangeBefore `json:"before,omitempty"` // with compare
}

var seriesParams = []string{
	"path", "method", "host", "prefix", "from", "to", "step", "compare", "compare_from", "compare_to",
}

func (h *handler) series(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), seriesParams...)
	span, step, keep := p.hours(), p.step(), p.filter()
	before, comparing := p.compared(span)
	if p.err == nil && (longest(span, before)-1)/step >= pointsMax {
		p.fail("this would be more than %d points: use a longer step or a shorter range", pointsMax)
	}
	if p.err != nil {
		return nil, p.err
	}
	if h.Rows == nil {
		return nil, ErrUnavailable
	}
	answer := seriesAnswer{
		Path: p.text("path"), Method: keep.method, Host: keep.host,
		From: hourTime(span.from), To: hourTime(span.to), Step: formatDuration(time.Duration(step) * time.Hour),
	}
	var err error
	if answer.Points, answer.Totals, err = h.points(r.Context(), span, step, keep); err != nil || !comparing {
		return answer, err
	}
	answer.Before = &rangeBefore{From: hourTime(before.from), To: hourTime(before.to)}
	answer.Before.Points, answer.Before.Totals, err = h.points(r.Context(), before, step, keep)
	return answer, err
}

func longest(a, b hours) int64 { return max(a.to-a.from, b.to-b.from) }

// formatDuration writes whole hours as "24h" rather than "24h0m0s".
func formatDuration(d time.Duration) string {
	text := d.String()
	if d%time.Minute == 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if d%time.Hour == 0 {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/stats"
)

// sorts are the orders that "sort" may ask for, all descending.
var sorts = map[string]func(*Row) uint64{
	"count":     func(r *Row) uint64 { return r.Count },
	"rate":      func(r *Row) uint64 { return r.Count }, // the range is the same for all rows
	"errors":    func(r *Row) uint64 { return r.Errors },
	"p50":       func(r *Row) uint64 { return r.Latency.P50 },
	"p90":       func(r *Row) uint64 { return r.Latency.P90 },
	"p95":       func(r *Row) uint64 { return r.Latency.P95 },
	"p99":       func(r *Row) uint64 { return r.Latency.P99 },
	"max":       func(r *Row) uint64 { return r.Latency.Max },
	"bytes_in":  func(r *Row) uint64 { return r.BytesIn },
	"bytes_out": func(r *Row) uint64 { return r.BytesOut },
}

// sortNames lists the orders for the error message.
const sortNames = "count, errors, rate, p50, p90, p95, p99, max, bytes_in, bytes_out"

// pathsAnswer is the body of GET /api/v1/paths. Totals cover every row that the filters keep, listed or not.
type pathsAnswer struct {
	From   time.Time `json:"from"` // the range used: whole hours
	To     time.Time `json:"to"`
	Rows   int       `json:"rows"` // rows found; limit may list fewer
	Totals Figures   `json:"totals"`
	Paths  []Row     `json:"paths"`
}

func (h *handler) paths(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), "from", "to", "sort", "limit", "method", "host", "prefix")
	span, limit, keep := p.hours(), p.limit(), p.filter()
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
	merged, err := mergeRows(r.Context(), h.Rows, span, keep)
	if err != nil {
		return nil, err
	}
	answer := pathsAnswer{From: hourTime(span.from), To: hourTime(span.to), Rows: len(merged), Paths: make([]Row, 0, len(merged))}
	var totals stats.Row
	for n, row := range merged {
		if err := totals.Merge(row); err != nil {
			return nil, err
		}
		answer.Paths = append(answer.Paths, Row{n.host, n.method, n.label, figuresOf(row, span.seconds())})
	}
	answer.Totals = figuresOf(&totals, span.seconds())
	slices.SortFunc(answer.Paths, func(a, b Row) int {
		return cmp.Or(cmp.Compare(by(&b), by(&a)), cmp.Compare(b.Count, a.Count), a.name().compare(b.name()))
	})
	answer.Paths = answer.Paths[:min(limit, len(answer.Paths))]
	return answer, nil
}

func (r *Row) name() name { return name{r.Host, r.Method, r.Path} }

// mergeRows adds up each row over the hours. Memory is bounded by the number of rows, whatever the range.
func mergeRows(ctx context.Context, source RowSource, span hours, keep filter) (map[name]*stats.Row, error) {
	merged := map[name]*stats.Row{}
	err := source.Rows(ctx, span.from, span.to, func(k stats.Key, row *stats.Row) error {
		n := nameOf(k)
		if !keep.keeps(n) {
			return nil
		}
		sum := merged[n]
		if sum == nil {
			sum = new(stats.Row)
			// The key may be as short-lived as the row.
			merged[name{strings.Clone(n.host), strings.Clone(n.method), strings.Clone(n.label)}] = sum
		}
		return sum.Merge(row)
	})
	return merged, err
}

// point is one step of a series.
type point struct {
	Time time.Time `json:"time"` // start of the step
	Figures
}

// seriesAnswer is the body of GET /api/v1/series: every step of the range, empty ones included.
type seriesAnswer struct {
	Path   string    `json:"path"`
	Method string    `json:"method,omitempty"`
	Host   string    `json:"host,omitempty"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Step   string    `json:"step"`
	Points []point   `json:"points"`
	Totals Figures   `json:"totals"`
}

func (h *handler) series(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), "path", "method", "host", "from", "to", "step")
	span, step, keep := p.hours(), p.step(), p.filter()
	if keep.path == "" {
		p.fail("path is missing: the template as /api/v1/paths shows it, for instance path=/users/{id}")
	}
	if p.err == nil && (span.to-span.from)/step >= pointsMax {
		p.fail("this would be more than %d points: use a longer step or a shorter range", pointsMax)
	}
	if p.err != nil {
		return nil, p.err
	}
	if h.Rows == nil {
		return nil, ErrUnavailable
	}
	answer := seriesAnswer{
		Path: keep.path, Method: keep.method, Host: keep.host,
		From: hourTime(span.from), To: hourTime(span.to), Step: formatDuration(time.Duration(step) * time.Hour),
	}
	var sum, totals stats.Row
	at := span.from // start of the step being summed
	flush := func(until int64) error {
		for at < until {
			end := min(at+step, span.to)
			answer.Points = append(answer.Points, point{hourTime(at), figuresOf(&sum, hours{at, end}.seconds())})
			if err := totals.Merge(&sum); err != nil {
				return err
			}
			sum.Reset()
			at = end
		}
		return nil
	}
	err := h.Rows.Rows(r.Context(), span.from, span.to, func(k stats.Key, row *stats.Row) error {
		if !keep.keeps(nameOf(k)) {
			return nil
		}
		if start := k.Hour - (k.Hour-span.from)%step; start > at {
			if err := flush(start); err != nil {
				return err
			}
		}
		return sum.Merge(row)
	})
	if err == nil {
		err = flush(span.to)
	}
	answer.Totals = figuresOf(&totals, span.seconds())
	return answer, err
}

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

package api

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/collector/failing"
	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Kinds of changes.
const (
	changeFailing  = "failing"  // a larger share of the responses are errors
	changeSlower   = "slower"   // p95 is higher
	changeNew      = "new"      // no responses before
	changeVanished = "vanished" // no responses now
)

// Thresholds that a change must reach to be listed. A listed change is also larger than chance explains.
const (
	changedErrorsMin = 5
	changedShareMin  = 0.01 // minimum increase of the share of errors
	changedFactor    = 2    // minimum factor by which that share has grown
	slowerFactor     = 1.5
	slowerMicrosMin  = 10_000
	timedMin         = 100 // minimum number of responses in each range if latencies are compared
	countMin         = 10  // minimum number of responses of a new or vanished path
)

// change is a row that differs between two ranges.
type change struct {
	Kind string `json:"kind"`
	snapshot.Row
	Before   snapshot.Figures `json:"before"`
	Affected uint64           `json:"affected"` // requests that failed, were slow, or went to a new or a vanished path
}

// changesAnswer is the body of GET /api/v1/changes.
type changesAnswer struct {
	From       time.Time     `json:"from"`
	To         time.Time     `json:"to"`
	Resolution string        `json:"resolution"`
	Before     comparedRange `json:"before"`
	Total      int           `json:"total"`   // changes found; Changes has at most limit of them
	Changes    []change      `json:"changes"` // those with the most affected requests first
}

var changesParams = []string{"from", "to", "limit", "method", "host", "prefix", "route", "compare", "compare_from", "compare_to"}

// changes handles GET /api/v1/changes. By default, it compares the range with the preceding one of the same length.
func (h *handler) changes(r *http.Request) (any, error) {
	p := parseParams(r.URL.RawQuery, h.Now(), changesParams...)
	if p.err == nil && p.text("compare") == "" && p.text("compare_from") == "" && p.text("compare_to") == "" {
		p.values["compare"] = "previous"
	}
	limit, keep := p.limit(), p.filter()
	span, before, _ := h.spans(p)
	if p.err != nil {
		return nil, p.err
	}
	if h.Rows == nil {
		return nil, ErrUnavailable
	}
	now, err := h.mergeRows(r.Context(), &span, keep)
	if err != nil {
		return nil, err
	}
	then, err := h.mergeRows(r.Context(), &before, keep)
	if err != nil {
		return nil, err
	}
	answer := changesAnswer{
		From: span.start(), To: span.end(), Resolution: span.resolution(), Before: comparedRange{From: before.start(), To: before.end()}, Changes: []change{},
	}
	if answer.Before.Totals, err = h.totalsOf(r.Context(), then, &before, keep); err != nil {
		return nil, err
	}
	cover := snapshot.CoverageOf(h.Rows, h.Now())
	c := comparer{cover.Seconds(span.Range), answer.Before.Totals.Seconds}
	found := c.compare(now, then)
	answer.Total = len(found)
	for _, f := range found[:min(limit, len(found))] {
		answer.Changes = append(answer.Changes, f.describe(&c))
	}
	return answer, nil
}

// comparer compares the rows of two ranges. Its fields are the numbers of seconds that were recorded in the two ranges.
type comparer struct{ now, before float64 }

// changed is a change without figures.
type changed struct {
	kind      string
	key       stats.Key
	now, then *stats.Row
	affected  uint64
}

// compare lists the changes, those with the most affected requests first.
func (c *comparer) compare(now, then map[stats.Key]*stats.Row) (out []changed) {
	none := new(stats.Row)
	for k, row := range now {
		old := then[k]
		if old == nil {
			old = none
		}
		out = append(out, c.changes(k, row, old)...)
	}
	for k, row := range then {
		if now[k] == nil && row.Count >= countMin && c.now > 0 {
			out = append(out, changed{changeVanished, k, none, row, row.Count})
		}
	}
	slices.SortFunc(out, func(a, b changed) int {
		return cmp.Or(cmp.Compare(b.affected, a.affected), a.key.Compare(b.key), cmp.Compare(a.kind, b.kind))
	})
	return out
}

// changes lists the changes of one row: now and then are the row in the two ranges, and now has responses.
func (c *comparer) changes(k stats.Key, now, then *stats.Row) (out []changed) {
	share := func(r *stats.Row) float64 { return float64(r.Errors) / max(float64(r.Count), 1) }
	if now.Errors >= changedErrorsMin && share(now) >= max(changedFactor*share(then), share(then)+changedShareMin) &&
		failing.More(now.Errors, now.Count, then.Errors, then.Count) {
		out = append(out, changed{changeFailing, k, now, then, now.Errors})
	}
	if then.Count == 0 {
		if now.Count >= countMin && c.before > 0 {
			out = append(out, changed{changeNew, k, now, then, now.Count})
		}
		return out
	}
	old := then.Quantile(0.95)
	slow := max(uint64(slowerFactor*float64(old)), old+slowerMicrosMin)
	if min(now.Count, then.Count) >= timedMin && now.Quantile(0.95) >= slow {
		if part := now.Latency.AtLeast(slow); failing.More(part, now.Count, then.Latency.AtLeast(slow), then.Count) {
			out = append(out, changed{changeSlower, k, now, then, part})
		}
	}
	return out
}

func (f *changed) describe(c *comparer) change {
	return change{f.kind, snapshot.RowOf(f.key, f.now, c.now), snapshot.FiguresOf(f.then, c.before), f.affected}
}

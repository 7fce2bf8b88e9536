package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// Bounds of queries.
const (
	limitDefault = 100
	limitMax     = 10_000
	pointsMax    = 10_000
	rangeDefault = 24 * time.Hour
)

// params are the parameters of a query. Only the first error is kept, in err.
type params struct {
	values query.Values
	now    time.Time
	err    error
}

func parseParams(rawQuery string, now time.Time, known ...string) *params {
	p := &params{now: now}
	var err error
	if p.values, err = query.Parse(rawQuery, known...); err != nil {
		p.err = badRequest{err.Error()}
	}
	return p
}

// noParameters returns an error if a request has any parameters.
func noParameters(r *http.Request) error { return parseParams(r.URL.RawQuery, time.Time{}).err }

func (p *params) fail(format string, args ...any) {
	if p.err == nil {
		p.err = badRequest{fmt.Sprintf(format, args...)}
	}
}

func (p *params) text(key string) string { return p.values[key] }

// span reads the two ends of a time range, without rounding them.
func (p *params) span(fromKey, toKey string) (from, to time.Time) {
	to = p.time(toKey, p.now)
	from = to.Add(-rangeDefault)
	if first := time.Unix(0, 0).UTC(); from.Before(first) {
		from = first
	}
	from = p.time(fromKey, from)
	if p.err == nil && !from.Before(to) {
		p.fail("%s (%s) must be before %s (%s)", fromKey, from.Format(time.RFC3339), toKey, to.Format(time.RFC3339))
	}
	return from, to
}

// time reads a time in one of [timeparse.Forms].
func (p *params) time(key string, byDefault time.Time) time.Time {
	text := p.text(key)
	if text == "" || p.err != nil {
		return byDefault
	}
	t, err := timeparse.Parse(text, p.now)
	if err != nil {
		p.fail("%s: %v", key, err)
		return byDefault
	}
	return t
}

func (p *params) limit() int {
	text := p.text("limit")
	if text == "" {
		return limitDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > limitMax {
		p.fail("limit=%q must be a number from 1 to %d", text, limitMax)
		return limitDefault
	}
	return n
}

// step reads the length of the steps of a series, and returns it in minutes.
func (p *params) step() int64 {
	text := p.text("step")
	if text == "" {
		return stats.HourMinutes
	}
	d, ok := timeparse.Length(text)
	if !ok || d%time.Minute != 0 || d > time.Hour && d%time.Hour != 0 || d < time.Hour && time.Hour%d != 0 {
		p.fail("step=%q must be whole hours or days (1h, 6h, 1d), or minutes that divide an hour (1m, 5m, 15m)", text)
		return stats.HourMinutes
	}
	return int64(d / time.Minute)
}

// filter selects rows, and events by the rows in which they were counted.
type filter struct {
	host, method, prefix, path string
	route                      string // empty: any
	anyHost, anyMethod         bool
	below                      bool             // path is a prefix, because it ended with "*" in the request
	status                     *query.Statuses  // nil: any
	grpc                       *query.GRPCCodes // nil: any
}

func (p *params) filter() filter {
	f := filter{host: strings.ToLower(p.text("host")), method: p.text("method"), prefix: p.text("prefix"), route: p.text("route")}
	path := p.text("path")
	if err := query.CheckPath(path); err != nil {
		p.fail("path=%q: %v", path, err)
	}
	f.path, f.below = strings.CutSuffix(path, "*")
	f.anyHost, f.anyMethod = f.host == "", f.method == ""
	if f.method != paths.Other {
		f.method = strings.ToUpper(f.method)
	}
	if f.prefix != "" && f.prefix[0] != '/' && !strings.HasPrefix(paths.Other, f.prefix) && !strings.HasPrefix(paths.Malformed, f.prefix) {
		p.fail("prefix=%q must start with /", f.prefix)
	}
	var err error
	if f.status, err = query.ParseStatuses(p.text("status")); err != nil {
		p.fail("status: %v", err)
	}
	if f.grpc, err = query.ParseGRPC(p.text("grpc")); err != nil {
		p.fail("grpc: %v", err)
	}
	return f
}

// keeps reports whether the filter selects the rows with the given key. It does not examine their status counts.
func (f *filter) keeps(k stats.Key) bool {
	return (f.anyHost || k.Host == f.host) && (f.anyMethod || k.Method == f.method) &&
		(f.route == "" || k.Route == f.route) && strings.HasPrefix(k.Label, f.prefix) && f.isPath(k.Label)
}

// everything reports whether the filter selects all rows. Only in that case do totals include dropped responses, because these belong to
// no row.
func (f *filter) everything() bool { return *f == filter{anyHost: true, anyMethod: true} }

// isPath reports whether a template or path is the requested one, or begins with the requested prefix.
func (f *filter) isPath(path string) bool {
	return f.path == "" || path == f.path || f.below && strings.HasPrefix(path, f.path)
}

// byStatus reports whether the filter selects by status.
func (f *filter) byStatus() bool { return f.status != nil || f.grpc != nil }

// countIn returns how many of a row's responses have a status that the filter selects. A row has no counts for combinations of an HTTP
// status and a gRPC status. So for a filter on both, countIn returns the smaller of the two counts, which is an upper bound.
func (f *filter) countIn(r *stats.Row) uint64 {
	var http, grpc uint64
	for _, c := range r.Status {
		if f.status.Has(int(c.Code)) {
			http += c.Count
		}
	}
	if f.grpc == nil {
		return http
	}
	for _, g := range r.GRPC {
		if f.grpc.HasCode(int(g.Code)) {
			grpc += g.Count
		}
	}
	return min(http, grpc)
}

// comparison holds the two ranges to compare, both cut off at the current time.
type comparison struct{ main, before snapshot.Range }

// compared returns the range to compare with: the previous one of the same length ("compare=previous"), or the one given by compare_from
// and compare_to. If one of the ranges extends into the future, both are shortened by the same amount. ok is false if no comparison was
// requested, or if its parameters are invalid.
func (p *params) compared(main snapshot.Range, now int64) (c comparison, ok bool) {
	c.main = main
	from, to := p.text("compare_from"), p.text("compare_to")
	switch p.text("compare") {
	case "":
		if from == "" && to == "" {
			return c, false
		}
	case "previous":
		if from != "" || to != "" {
			p.fail("use either compare=previous, or compare_from and compare_to")
		}
		c.main.To = max(min(main.To, now), main.From+1)
		c.before = snapshot.Range{From: 2*c.main.From - c.main.To, To: c.main.From}
		if c.before.From < 0 {
			p.fail("compare=previous: a range of the same length before %s would begin before 1970", stats.MinuteStart(main.From).Format(time.RFC3339))
		}
		return c, p.err == nil
	default:
		p.fail("compare=%q: use compare=previous, or compare_from and compare_to", p.text("compare"))
	}
	if from == "" || to == "" {
		p.fail("compare_from and compare_to must be used together")
	}
	c.before = widened(p.span("compare_from", "compare_to"))
	left := max(main.To, c.before.To) - now // time by which the later end is in the future
	if shortest := min(main.To-main.From, c.before.To-c.before.From); left > 0 && left < shortest {
		c.main.To -= left
		c.before.To -= left
	}
	return c, p.err == nil
}

// sparkMax is the maximum number of parts of a sparkline.
const sparkMax = 96

// sparkMinutes is the longest range, in minutes, whose sparkline may have parts shorter than an hour.
const sparkMinutes = 6 * stats.HourMinutes

// spark returns the number of equal parts of the range for which each row also gets its counts; 0 means none.
func (p *params) spark(s *span) int {
	text := p.text("spark")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > sparkMax {
		p.fail("spark=%q must be a number from 1 to %d", text, sparkMax)
		return 0
	}
	most := s.To - s.From
	if most > sparkMinutes || !s.minutes {
		hours := s.Range.Hours()
		most = hours.To - hours.From
	}
	return int(min(int64(n), most))
}

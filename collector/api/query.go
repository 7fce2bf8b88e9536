package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/paths"
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

// params gives access to query parameters that are known and given once each; the first failure sticks.
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

// noParameters is the error for a request to an endpoint that takes none and was given some.
func noParameters(r *http.Request) error { return parseParams(r.URL.RawQuery, time.Time{}).err }

func (p *params) fail(format string, args ...any) {
	if p.err == nil {
		p.err = badRequest{fmt.Sprintf(format, args...)}
	}
}

func (p *params) text(key string) string { return p.values[key] }

// hours is a range of hours [from, to), counted from 1970.
type hours struct {
	from, to int64
}

func hourTime(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

// hours reads from and to. Statistics are kept by the hour, so the range is widened to whole ones.
func (p *params) hours() hours { return p.hoursOf("from", "to") }

func (p *params) hoursOf(fromKey, toKey string) hours {
	from, to := p.span(fromKey, toKey)
	if p.err != nil {
		return hours{}
	}
	h := hours{from: floorHour(from), to: floorHour(to)}
	if hourTime(h.to).Before(to) {
		h.to++
	}
	return h
}

// span reads a range of time as it was given.
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

func floorHour(t time.Time) int64 {
	s := t.Unix()
	h := s / 3600
	if s%3600 < 0 {
		h--
	}
	return h
}

// time reads a moment in one of [timeparse.Forms].
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

// step reads the distance of points in hours.
func (p *params) step() int64 {
	text := p.text("step")
	if text == "" {
		return 1
	}
	d, ok := timeparse.Length(text)
	if !ok || d%time.Hour != 0 {
		p.fail("step=%q must be whole hours or days (1h, 6h, 1d): statistics are kept by the hour", text)
		return 1
	}
	return int64(d / time.Hour)
}

// filter selects rows, and by their rows events.
type filter struct {
	host, method, prefix, path string
	anyHost, anyMethod         bool
	below                      bool            // path is a prefix: it was given with a "*" at its end
	status                     *query.Statuses // nil: any
}

func (p *params) filter() filter {
	f := filter{host: strings.ToLower(p.text("host")), method: p.text("method"), prefix: p.text("prefix")}
	path := p.text("path")
	if err := query.CheckPath(path); err != nil {
		p.fail("path=%q: %v", path, err)
	}
	f.path, f.below = strings.CutSuffix(path, "*")
	f.anyHost, f.anyMethod = f.host == "", f.method == ""
	if f.method != paths.Other {
		f.method = strings.ToUpper(f.method)
	}
	if f.prefix != "" && f.prefix[0] != '/' && !strings.HasPrefix(paths.Other, f.prefix) {
		p.fail("prefix=%q must start with /", f.prefix)
	}
	var err error
	if f.status, err = query.ParseStatuses(p.text("status")); err != nil {
		p.fail("status: %v", err)
	}
	return f
}

func (f *filter) keeps(n name) bool {
	return (f.anyHost || n.host == f.host) && (f.anyMethod || n.method == f.method) &&
		strings.HasPrefix(n.label, f.prefix) && f.isPath(n.label)
}

// isPath reports whether a template or path is the one asked for, or begins like it.
func (f *filter) isPath(path string) bool {
	return f.path == "" || path == f.path || f.below && strings.HasPrefix(path, f.path)
}

// among is the number of a row's responses with one of the statuses.
func among(set *query.Statuses, r *stats.Row) (n uint64) {
	for _, c := range r.Status {
		if set.Has(int(c.Code)) {
			n += c.Count
		}
	}
	return n
}

// compared is the range to compare with: the one before, of the same length ("compare=previous"), or any other
// (compare_from, compare_to). ok is false where none was asked for.
func (p *params) compared(span hours) (before hours, ok bool) {
	from, to := p.text("compare_from"), p.text("compare_to")
	switch p.text("compare") {
	case "":
		if from == "" && to == "" {
			return before, false
		}
	case "previous":
		if from != "" || to != "" {
			p.fail("compare=previous and compare_from exclude each other")
		}
		before = hours{from: 2*span.from - span.to, to: span.from}
		if before.from < 0 {
			p.fail("compare=previous: a range of the same length before %s would begin before 1970", hourTime(span.from).Format(time.RFC3339))
		}
		return before, p.err == nil
	default:
		p.fail("compare=%q: use compare=previous, or compare_from and compare_to", p.text("compare"))
	}
	if from == "" || to == "" {
		p.fail("compare_from and compare_to belong together")
	}
	return p.hoursOf("compare_from", "compare_to"), p.err == nil
}

// sparkMax is the most parts of a spark line.
const sparkMax = 96

// spark is the number of parts that each row's counts are also given in; 0 for none.
func (p *params) spark(span hours) int {
	text := p.text("spark")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > sparkMax {
		p.fail("spark=%q must be a number from 1 to %d", text, sparkMax)
		return 0
	}
	return int(min(int64(n), span.to-span.from))
}

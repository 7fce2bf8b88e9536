package api

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of queries.
const (
	limitDefault = 100
	limitMax     = 10_000
	pointsMax    = 10_000
	rangeDefault = 24 * time.Hour
)

// timeMax is the end of what RFC 3339 can write.
var timeMax = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// params gives access to query parameters that are known and given once each; the first failure sticks.
type params struct {
	values url.Values
	now    time.Time
	err    error
}

func parseParams(rawQuery string, now time.Time, known ...string) *params {
	p := &params{now: now}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		p.fail("the query string cannot be read: %v", err)
		return p
	}
	p.values = values
	for key, v := range values {
		switch {
		case !slices.Contains(known, key):
			p.fail("unknown parameter %q; known are %s", key, strings.Join(known, ", "))
		case len(v) > 1:
			p.fail("parameter %q is given %d times", key, len(v))
		}
	}
	return p
}

func noParameters(r *http.Request) error {
	if r.URL.RawQuery != "" {
		return badRequest{"this endpoint takes no parameters"}
	}
	return nil
}

func (p *params) fail(format string, args ...any) {
	if p.err == nil {
		p.err = badRequest{fmt.Sprintf(format, args...)}
	}
}

func (p *params) text(key string) string { return p.values.Get(key) }

// hours is a range of hours [from, to), counted from 1970.
type hours struct {
	from, to int64
}

func (h hours) seconds() float64 { return float64(h.to-h.from) * 3600 }

func hourTime(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

// hours reads from and to. Statistics are kept by the hour, so the range is widened to whole ones.
func (p *params) hours() hours {
	to := p.time("to", p.now)
	from := p.time("from", to.Add(-rangeDefault))
	if p.err == nil && !from.Before(to) {
		p.fail("from (%s) must be before to (%s)", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if p.err != nil {
		return hours{}
	}
	h := hours{from: floorHour(from), to: floorHour(to)}
	if hourTime(h.to).Before(to) {
		h.to++
	}
	return h
}

func floorHour(t time.Time) int64 {
	s := t.Unix()
	h := s / 3600
	if s%3600 < 0 {
		h--
	}
	return h
}

// time reads a moment: RFC 3339, Unix seconds, "now", or relative to now ("-24h", "-7d").
func (p *params) time(key string, byDefault time.Time) time.Time {
	text := p.text(key)
	if text == "" || p.err != nil {
		return byDefault
	}
	t, ok := parseTime(text, p.now)
	if !ok || t.Before(time.Unix(0, 0)) || t.After(timeMax) {
		p.fail("%s=%q is not a time: use RFC 3339 (2026-03-17T09:00:00Z), Unix seconds, or relative to now (-24h, -7d)", key, text)
		return byDefault
	}
	return t
}

func parseTime(text string, now time.Time) (time.Time, bool) {
	if text == "now" {
		return now, true
	}
	if rest, relative := strings.CutPrefix(text, "-"); relative {
		d, ok := parseDuration(rest)
		return now.Add(-d), ok
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		if seconds > timeMax.Unix() {
			return time.Time{}, false
		}
		return time.Unix(seconds, 0).UTC(), true
	}
	// A "+" that was not escaped arrives as a blank.
	t, err := time.Parse(time.RFC3339, strings.ReplaceAll(text, " ", "+"))
	return t.UTC(), err == nil
}

// parseDuration reads a positive Go duration, or a number of days with "d".
func parseDuration(text string) (time.Duration, bool) {
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n == 0 || n > math.MaxInt64/uint64(24*time.Hour) {
			return 0, false
		}
		return time.Duration(n) * 24 * time.Hour, true //nolint:gosec // bounded above
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0 && text[0] != '+'
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
	d, ok := parseDuration(text)
	if !ok || d%time.Hour != 0 {
		p.fail("step=%q must be whole hours or days (1h, 6h, 1d): statistics are kept by the hour", text)
		return 1
	}
	return int64(d / time.Hour)
}

// filter selects rows.
type filter struct {
	host, method, prefix, path string
	anyHost, anyMethod         bool
}

func (p *params) filter() filter {
	f := filter{
		host: strings.ToLower(p.text("host")), method: p.text("method"),
		prefix: p.text("prefix"), path: p.text("path"),
	}
	f.anyHost, f.anyMethod = f.host == "", f.method == ""
	if f.method != "(other)" {
		f.method = strings.ToUpper(f.method)
	}
	if f.prefix != "" && f.prefix[0] != '/' && !strings.HasPrefix("(other)", f.prefix) {
		p.fail("prefix=%q must start with /", f.prefix)
	}
	return f
}

func (f *filter) keeps(n name) bool {
	return (f.anyHost || n.host == f.host) && (f.anyMethod || n.method == f.method) &&
		strings.HasPrefix(n.label, f.prefix) && (f.path == "" || n.label == f.path)
}

package snapshot

import (
	"context"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// RowSource provides statistics. The store implements it.
type RowSource interface {
	// Rows calls fn for every row of the hours [fromHour, toHour), once per key and ordered by hour. The key and the
	// row are only valid during the call.
	Rows(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error
}

// beganSource is a RowSource with a method that returns the beginning of its first row. The store implements it.
type beganSource interface{ Began() time.Time }

// dropSource is a RowSource that knows how many responses are missing from its rows. The store implements it.
type dropSource interface {
	// Drops calls fn with the number of responses that could not be recorded, by hour and reason. It may call fn
	// several times for the same hour and reason.
	Drops(ctx context.Context, fromHour, toHour int64, fn func(hour int64, reason string, responses uint64)) error
}

// Hours is a range of hours [From, To), counted since 1970.
type Hours struct {
	From, To int64
}

// Minutes returns the range in minutes.
func (h Hours) Minutes() Range {
	return Range{h.From * stats.HourMinutes, h.To * stats.HourMinutes}
}

// Range is a range of minutes [From, To), counted since 1970.
type Range struct {
	From, To int64
}

// Hours returns the hours that overlap the range.
func (r Range) Hours() Hours {
	return Hours{stats.HourOfMinute(r.From), stats.HourOfMinute(r.To-1) + 1}
}

// gapSource is a RowSource with a method that returns the periods in which nothing was recorded because wayside was not running. The
// store implements it.
type gapSource interface {
	// Gaps returns the gaps between from and to in ascending order, without overlaps.
	Gaps(from, to time.Time) []stats.Gap
}

// Coverage is the time for which a source has figures: from its first row until now. A range that extends beyond it, such as the current
// hour, is only partly covered. Periods in which wayside is known not to have been running are not covered either. Rates are per second
// of the covered part.
type Coverage struct {
	began, now time.Time
	gaps       gapSource
}

// CoverageOf returns the time that a source currently covers.
func CoverageOf(source RowSource, now time.Time) Coverage {
	c := Coverage{now: now}
	if s, ok := source.(beganSource); ok {
		c.began = s.Began()
	}
	c.gaps, _ = source.(gapSource)
	return c
}

// Within returns the part of a range that lies between the first row and now. from is never after to.
func (c Coverage) Within(r Range) (from, to time.Time) {
	from, to = stats.MinuteStart(r.From), stats.MinuteStart(r.To)
	if c.began.After(from) {
		from = c.began
	}
	if c.now.Before(to) {
		to = c.now
	}
	if to.Before(from) {
		to = from
	}
	return from, to
}

// Seconds returns the covered time within a range, to the microsecond.
func (c Coverage) Seconds(r Range) float64 {
	from, to := c.Within(r)
	micros := to.UnixMicro() - from.UnixMicro()
	if c.gaps != nil && micros > 0 {
		for _, g := range c.gaps.Gaps(from, to) {
			micros -= g.To.UnixMicro() - g.From.UnixMicro()
		}
	}
	return float64(max(micros, 0)) / 1e6
}

// AddDrops adds the responses that were dropped in each hour of a range to the figures that figuresOf returns for that
// hour.
func AddDrops(ctx context.Context, source RowSource, span Hours, figuresOf func(hour int64) *Figures) error {
	s, ok := source.(dropSource)
	if !ok {
		return nil
	}
	return s.Drops(ctx, span.From, span.To, func(hour int64, reason string, responses uint64) {
		f := figuresOf(hour)
		if f.Dropped == nil {
			f.Dropped = map[string]uint64{}
		}
		f.Dropped[reason] += responses
	})
}

// FormatDuration writes whole hours as "24h" rather than "24h0m0s".
func FormatDuration(d time.Duration) string {
	text := d.String()
	if d%time.Minute == 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if d%time.Hour == 0 {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

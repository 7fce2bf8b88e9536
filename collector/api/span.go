package api

import (
	"context"
	"time"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// minuteSource is a row source that also has rows per minute for recent hours. The store implements it.
type minuteSource interface {
	MinutesKnown(from, to int64) bool
	AddMinutes(ctx context.Context, from, to int64, rowsOf func(stats.Key) func(minute int64) *stats.Row) error
}

// span is the range of a query, in minutes, split into parts that are added up: single minutes, then whole hours, then
// single minutes. If the range reaches the present, the current hour is read as a whole hour.
type span struct {
	snapshot.Range
	head, tail snapshot.Range
	hours      snapshot.Hours
	minutes    bool // false: rows of some minutes are missing, so the range was widened to whole hours
}

// Resolutions of a response.
const (
	byMinute = "1m"
	byHour   = "1h"
)

// resolution names the unit to which the range was widened.
func (s *span) resolution() string {
	if s.minutes {
		return byMinute
	}
	return byHour
}

func (s *span) start() time.Time { return stats.MinuteStart(s.From) }
func (s *span) end() time.Time   { return stats.MinuteStart(s.To) }

// known reports whether the store has rows per minute for the whole range.
func (h *handler) known(r snapshot.Range) bool {
	s, ok := h.Rows.(minuteSource)
	return ok && (r.From >= r.To || s.MinutesKnown(r.From, r.To))
}

// spanOf splits a range of minutes into its parts. If the store lacks some of the minutes, spanOf widens the range to whole hours.
func (h *handler) spanOf(r snapshot.Range) span {
	s := span{Range: r, hours: r.Hours(), minutes: true}
	until := max(r.To, stats.MinuteOf(h.Now())+1) // nothing is recorded after that
	if first := s.hours.From * stats.HourMinutes; r.From > first {
		s.head = snapshot.Range{From: r.From, To: min(r.To, first+stats.HourMinutes)}
		s.hours.From++
	}
	if last := (s.hours.To - 1) * stats.HourMinutes; s.hours.From < s.hours.To && r.To < min(last+stats.HourMinutes, until) {
		s.tail = snapshot.Range{From: last, To: r.To}
		s.hours.To--
	}
	s.hours.To = max(s.hours.To, s.hours.From)
	if h.known(s.head) && h.known(s.tail) {
		return s
	}
	return hourly(r.Hours())
}

// hourly returns a span of whole hours.
func hourly(hours snapshot.Hours) span {
	return span{Range: hours.Minutes(), hours: hours, minutes: false}
}

// widened rounds the beginning of a time range down to a whole minute, and its end up.
func widened(from, to time.Time) snapshot.Range {
	r := snapshot.Range{From: stats.MinuteOf(from), To: stats.MinuteOf(to)}
	if stats.MinuteStart(r.To).Before(to) {
		r.To++
	}
	return r
}

// spans reads the range of a query and, if there is one, the range to compare it with. For a comparison, both ranges are cut off at the
// current time.
func (h *handler) spans(p *params) (main, before span, comparing bool) {
	asked := widened(p.span("from", "to"))
	other, comparing := p.compared(asked, stats.MinuteOf(h.Now()))
	if p.err != nil {
		return main, before, false
	}
	if !comparing {
		return h.spanOf(asked), before, false
	}
	cut := other.main
	main, before = h.spanOf(cut), h.spanOf(other.before)
	if main.minutes && before.minutes {
		return main, before, true
	}
	return hourly(overHours(cut, h.Now())), hourly(overHours(other.before, h.Now())), true
}

// overHours returns the whole hours of a range that have ended. If none of them has ended, it returns all hours that overlap the range.
func overHours(r snapshot.Range, now time.Time) snapshot.Hours {
	hours := r.Hours()
	if end := min(stats.HourOfMinute(r.To), stats.HourOf(now)); end > hours.From {
		hours.To = end
	}
	return hours
}

// addMinutes adds the minutes of a span that its whole hours do not cover.
func (h *handler) addMinutes(ctx context.Context, s *span, rowsOf func(stats.Key) func(minute int64) *stats.Row) error {
	for _, r := range []snapshot.Range{s.head, s.tail} {
		if err := h.addRange(ctx, r, rowsOf); err != nil {
			return err
		}
	}
	return nil
}

func (h *handler) addRange(ctx context.Context, r snapshot.Range, rowsOf func(stats.Key) func(minute int64) *stats.Row) error {
	source, ok := h.Rows.(minuteSource)
	if !ok || r.From >= r.To {
		return nil
	}
	return source.AddMinutes(ctx, r.From, r.To, rowsOf)
}

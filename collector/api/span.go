package api

import (
	"context"
	"time"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// minuteSource is a row source that has rows of minutes for recent hours; the store is one.
type minuteSource interface {
	MinutesKnown(from, to int64) bool
	AddMinutes(ctx context.Context, from, to int64, rowsOf func(stats.Key) func(minute int64) *stats.Row) error
}

// span is the range of a query, in minutes, and the parts from which it is added up: minutes, whole hours, minutes. The hour that is not over
// is whole, if the range reaches until now.
type span struct {
	snapshot.Range
	head, tail snapshot.Range
	hours      snapshot.Hours
	minutes    bool // false: some minutes are not known, and the range was widened to whole hours
}

// Resolutions of an answer.
const (
	byMinute = "1m"
	byHour   = "1h"
)

// resolution says to which unit the range of an answer was widened.
func (s *span) resolution() string {
	if s.minutes {
		return byMinute
	}
	return byHour
}

func (s *span) start() time.Time { return stats.MinuteStart(s.From) }
func (s *span) end() time.Time   { return stats.MinuteStart(s.To) }

// known reports whether the rows of some minutes are known.
func (h *handler) known(r snapshot.Range) bool {
	s, ok := h.Rows.(minuteSource)
	return ok && (r.From >= r.To || s.MinutesKnown(r.From, r.To))
}

// spanOf divides a range of minutes into its parts, or widens it to whole hours.
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

// hourly is a span of whole hours.
func hourly(hours snapshot.Hours) span {
	return span{Range: hours.Minutes(), hours: hours, minutes: false}
}

// widened rounds a range of time to whole minutes, its beginning down and its end up.
func widened(from, to time.Time) snapshot.Range {
	r := snapshot.Range{From: stats.MinuteOf(from), To: stats.MinuteOf(to)}
	if stats.MinuteStart(r.To).Before(to) {
		r.To++
	}
	return r
}

// spans reads the range of a query, and the one to compare it with. Time that is not over is left out of both of them.
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

// overHours are the whole hours of a range that are over. If none is, they are the hours that it touches.
func overHours(r snapshot.Range, now time.Time) snapshot.Hours {
	hours := r.Hours()
	if end := min(stats.HourOfMinute(r.To), stats.HourOf(now)); end > hours.From {
		hours.To = end
	}
	return hours
}

// addMinutes adds the minutes of a span that are not in whole hours.
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

package uploader

import (
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// schedule says when a job runs next.
type schedule struct {
	every time.Duration // 0 means cron
	cron  string
}

func parseSchedule(text string) (schedule, error) {
	if rest, found := strings.CutPrefix(strings.TrimSpace(text), "@every "); found {
		d, err := time.ParseDuration(strings.TrimSpace(rest))
		if err != nil || d <= 0 {
			return schedule{}, fmt.Errorf("%q: want a positive duration behind @every, such as @every 10m", text)
		}
		return schedule{every: d}, nil
	}
	if !gronx.IsValid(text) {
		return schedule{}, fmt.Errorf("%q is no cron expression: want five fields such as \"0 3 * * *\", or @every 10m", text)
	}
	s := schedule{cron: text}
	if _, err := gronx.NextTickAfter(text, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), false); err != nil {
		return schedule{}, fmt.Errorf("%q never comes due: %w", text, err)
	}
	return s, nil
}

// next is the first time after now at which the job is due, in UTC.
func (s schedule) next(now time.Time) time.Time {
	now = now.UTC()
	if s.every > 0 {
		return now.Add(s.every)
	}
	t, err := gronx.NextTickAfter(s.cron, now, false)
	if err != nil || !t.After(now) {
		// Checked when parsed; a year field that has run out is all that is left.
		return now.Add(24 * time.Hour)
	}
	return t
}

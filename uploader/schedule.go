package uploader

import (
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"github.com/wayside-proxy/wayside/internal/timeparse"
)

// ValidateSchedule returns an error if text is neither a cron expression nor "@every DURATION", in the form that the options accept.
func ValidateSchedule(text string) error {
	_, err := parseSchedule(text)
	return err
}

// schedule computes when a job is due.
type schedule struct {
	every time.Duration // 0 means cron
	cron  string
	zone  *time.Location // time zone of the cron expression
	// fixed means that the expression names hours ("0 3 * * *"). Such a job runs once at each named hour, even on the two days a year on
	// which the clock changes. Other jobs ("0 * * * *") run in every hour of real time, even if the clock shows an hour twice.
	fixed bool
}

// zonePrefix may precede a cron expression: "TZ=Europe/Berlin 0 3 * * *".
const zonePrefix = "TZ="

// everyMin is the shortest interval after @every. A job that is always restarted immediately would use a whole core.
const everyMin = time.Second

// dense reports whether the job is due several times a minute.
func (s schedule) dense() bool { return s.every > 0 && s.every < time.Minute }

func parseSchedule(text string) (schedule, error) {
	text = strings.TrimSpace(text)
	if rest, found := strings.CutPrefix(text, "@every "); found {
		d, err := timeparse.Duration(strings.TrimSpace(rest))
		if err != nil || d < everyMin {
			return schedule{}, fmt.Errorf("%q: want at least a second after @every, such as @every 10m", text)
		}
		return schedule{every: d}, nil
	}
	s := schedule{cron: text, zone: time.UTC}
	if rest, found := strings.CutPrefix(strings.TrimPrefix(text, "CRON_"), zonePrefix); found {
		name, cron, _ := strings.Cut(rest, " ")
		zone, err := time.LoadLocation(name)
		if err != nil || name == "" {
			return schedule{}, fmt.Errorf("%q: unknown time zone %q: want one such as Europe/Berlin", text, name)
		}
		s.zone, s.cron = zone, strings.TrimSpace(cron)
	}
	if !gronx.IsValid(s.cron) {
		return schedule{}, fmt.Errorf("%q is not a cron expression: want five fields such as \"0 3 * * *\", or @every 10m", text)
	}
	if _, err := gronx.NextTickAfter(s.cron, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), false); err != nil {
		return schedule{}, fmt.Errorf("%q is never due: %w", text, err)
	}
	fields := strings.Fields(s.cron)
	s.fixed = len(fields) < 5 && s.cron != "@hourly" || len(fields) >= 5 && !strings.HasPrefix(fields[len(fields)-4], "*")
	return s, nil
}

// next returns the first time after now at which the job is due, in UTC.
//
// Cron expressions refer to the wall clock. So next evaluates them in wall-clock time, separately for each period with a constant offset
// from UTC. A job that is due at a time that the clock skips becomes due at the end of the gap. If a time occurs twice, the job is due
// the first time.
func (s schedule) next(now time.Time) time.Time {
	now = now.UTC()
	if s.every > 0 {
		return now.Add(s.every)
	}
	wall := onWall(now, s.offset(now))
	_, end := now.In(s.zone).ZoneBounds()
	offset := s.offset(now)
	if before := s.repeated(now); s.fixed && wall.Before(before) {
		wall = before.Add(-time.Nanosecond) // the first pass has covered the earlier times
	}
	for range 8 { // number of periods; most zones have two a year
		tick, err := gronx.NextTickAfter(s.cron, wall, false)
		if err != nil || !tick.After(wall) {
			break
		}
		due := tick.Add(-offset)
		if end.IsZero() || due.Before(end) {
			return due
		}
		later := s.offset(end)
		if s.fixed && later > offset && tick.Before(onWall(end, later)) {
			return end.UTC() // the clock skips that time
		}
		landing := onWall(end, later)
		if s.fixed && later < offset {
			landing = onWall(end, offset)
		}
		wall, offset = landing.Add(-time.Nanosecond), later
		_, end = end.In(s.zone).ZoneBounds()
	}
	// parseSchedule has checked that the expression matches at least once, so the last match is in the past.
	return now.Add(24 * time.Hour)
}

func (s schedule) offset(t time.Time) time.Duration {
	_, seconds := t.In(s.zone).Zone()
	return time.Duration(seconds) * time.Second
}

// onWall returns the time that the wall clock shows, as a time in UTC.
func onWall(t time.Time, offset time.Duration) time.Time { return t.UTC().Add(offset) }

// repeated returns the wall-clock time up to which the period of t repeats times of the previous period, or the zero time if there is no
// such repetition.
func (s schedule) repeated(t time.Time) time.Time {
	start, _ := t.In(s.zone).ZoneBounds()
	if start.IsZero() {
		return time.Time{}
	}
	before := s.offset(start.Add(-time.Nanosecond))
	if before <= s.offset(start) {
		return time.Time{}
	}
	return onWall(start, before)
}

package configs

import (
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Limits of @every. A job that runs more often than once a second would keep a CPU core busy without having anything new to do. One
// that runs less often than once a year is probably a mistake.
const (
	everyMin = Second
	everyMax = 366 * 24 * Hour
)

// checkSchedule accepts a cron expression of five fields, an alias such as @hourly, or @every with a duration.
func checkSchedule(s string) string {
	const hint = `write a cron expression such as "0 * * * *", or @every 10m`
	if every, ok := strings.CutPrefix(strings.TrimSpace(s), "@every "); ok {
		d, err := ParseDuration(strings.TrimSpace(every))
		if err != nil {
			return fmt.Sprintf("%q is not a schedule: %s", s, hint)
		}
		if d < everyMin || d > everyMax {
			return fmt.Sprintf("%q: write a time from 1s to %v after @every", s, everyMax)
		}
		return ""
	}
	cron := strings.TrimSpace(s)
	if zone, found := strings.CutPrefix(strings.TrimPrefix(cron, "CRON_"), "TZ="); found {
		name, rest, _ := strings.Cut(zone, " ")
		if _, err := time.LoadLocation(name); err != nil || name == "" {
			return fmt.Sprintf("%q names an unknown time zone: write TZ=Europe/Berlin 0 3 * * *", s)
		}
		cron = strings.TrimSpace(rest)
	}
	fields := strings.Fields(cron)
	alias := len(fields) == 1 && strings.HasPrefix(cron, "@")
	switch {
	case len(fields) > 5 && gronx.IsValid(cron):
		return fmt.Sprintf("%q has %d fields: write five (minute, hour, day, month, weekday), or @every 10s", s, len(fields))
	case !alias && len(fields) != 5, !gronx.IsValid(cron):
		return fmt.Sprintf("%q is not a schedule: %s", s, hint)
	}
	if _, err := gronx.NextTickAfter(cron, time.Now().UTC(), false); err != nil {
		return fmt.Sprintf("%q never occurs: %s", s, hint)
	}
	return ""
}

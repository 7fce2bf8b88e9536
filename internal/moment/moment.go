// Package moment reads moments and lengths of time as people write them in queries and flags: one set of forms for the API
// and for the command line.
package moment

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Forms names what [Parse] accepts, for error messages and descriptions.
const Forms = "RFC 3339 (2026-03-17T09:00:00Z), a date or hour in UTC (2026-03-17, 2026-03-17T09), Unix seconds, now, " +
	"or before now (now-24h, -24h, -7d)"

// Max is the end of what RFC 3339 can write, and the last moment that Parse returns. The first is 1970-01-01.
var Max = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// layouts besides RFC 3339 are in UTC, and mean the beginning of what they name.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", time.DateOnly}

// Parse reads a moment in one of [Forms], between 1970 and [Max]. The error names them.
func Parse(text string, now time.Time) (time.Time, error) {
	t, ok := parse(text, now)
	if !ok || t.Before(time.Unix(0, 0)) || t.After(Max) {
		return time.Time{}, fmt.Errorf("%q is not a time: use %s", text, Forms)
	}
	return t, nil
}

// secondsMin is the least number of Unix seconds that is taken for such: 3 March 1973. What is less, "2026", is meant otherwise.
const secondsMin = 100_000_000

func parse(text string, now time.Time) (time.Time, bool) {
	if text == "now" {
		return now, true
	}
	if length, relative := strings.CutPrefix(strings.TrimPrefix(text, "now"), "-"); relative {
		d, ok := Length(length)
		return now.Add(-d), ok
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && (seconds == 0 || seconds >= secondsMin) {
		return time.Unix(min(seconds, Max.Unix()+1), 0).UTC(), true
	}
	// A "+" that was not escaped arrives as a blank.
	text = strings.ReplaceAll(text, " ", "+")
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// Length reads how long something is: a positive Go duration (90m, 24h), or whole days or weeks (7d, 2w).
func Length(text string) (time.Duration, bool) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if digits, found := strings.CutSuffix(text, unit); found {
			n, err := strconv.ParseUint(digits, 10, 32)
			if err != nil || n == 0 || n > math.MaxInt64/uint64(length) {
				return 0, false
			}
			return time.Duration(n) * length, true //nolint:gosec // bounded above
		}
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0 && text[0] != '+'
}

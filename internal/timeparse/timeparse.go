// Package timeparse parses times and durations in the forms that people write in queries, flags and schedules. The API and the command
// line accept the same forms.
package timeparse

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Forms describes the times that [Parse] accepts, for error messages and help texts.
const Forms = "RFC 3339 (2026-03-17T09:00:00Z), a date or hour in UTC (2026-03-17, 2026-03-17T09), Unix seconds, now, " +
	"or before now (now-24h, -24h, -7d)"

// Max is the latest time that Parse returns. RFC 3339 has no later years.
var Max = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// A time in a layout other than RFC 3339 is in UTC, and means the beginning of the hour or day that it names.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", time.DateOnly}

// Parse parses a time in one of [Forms], between 1970 and [Max]. The error message lists the forms.
func Parse(text string, now time.Time) (time.Time, error) {
	t, ok := parse(text, now)
	if !ok || t.Before(time.Unix(0, 0)) || t.After(Max) {
		return time.Time{}, fmt.Errorf("%q is not a time: use %s", text, Forms)
	}
	return t, nil
}

// secondsMin is the smallest number that is accepted as Unix seconds: 3 March 1973. Smaller numbers, such as 2026, are mistakes.
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
	// A "+" that was not escaped in a query string arrives as a space.
	text = strings.ReplaceAll(text, " ", "+")
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// Length parses a positive [Duration] without a sign.
func Length(text string) (time.Duration, bool) {
	d, err := Duration(text)
	return d, err == nil && d > 0 && text[0] != '+'
}

// longUnits are units that Go's durations do not have, longest first. A day has 24 hours.
var longUnits = []struct {
	name   byte
	length time.Duration
}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}}

// Duration parses a Go duration (250ms, 1h30m) that may begin with whole weeks and days: 2w, 7d, 1d12h. 0 needs no unit. The error does
// not contain the text.
func Duration(text string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(text, "-")
	var sum time.Duration
	for _, u := range longUnits {
		digits, after, found := strings.Cut(rest, string(u.name))
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n > math.MaxInt64/uint64(u.length)/2 {
			return 0, errDuration
		}
		sum += time.Duration(n) * u.length
		if rest = after; rest == "" {
			return sign(sum, negative), nil
		}
	}
	if sum == 0 {
		return time.ParseDuration(text) // callers add the text to the error message
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || rest[0] == '+' || d > math.MaxInt64-sum {
		return 0, errDuration
	}
	return sign(sum+d, negative), nil
}

var errDuration = errors.New("not a duration")

func sign(d time.Duration, negative bool) time.Duration {
	if negative {
		return -d
	}
	return d
}

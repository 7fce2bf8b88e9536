package weblog

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Times outside these years are caused by a wrong clock or a wrong format.
const (
	yearMin = 1990
	yearMax = 2200
)

// nginxTime is the layout of nginx's $time_local.
const nginxTime = "02/Jan/2006:15:04:05 -0700"

// secondsMax distinguishes seconds since 1970 from milliseconds: larger numbers are milliseconds.
const secondsMax = 1e11

// logTime parses a time in a form that nginx, Apache or Caddy writes: the local time of combined, RFC 3339, or seconds or milliseconds
// since 1970. The result is in microseconds.
func logTime(text string) (int64, error) {
	for _, layout := range []string{nginxTime, time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return inYears(t)
		}
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return epochTime(seconds)
	}
	return 0, fmt.Errorf("cannot read the time %q: it must be like 10/Oct/2000:13:55:36 +0200, 2000-10-10T13:55:36+02:00, or seconds since 1970", shorten(text))
}

func epochTime(seconds float64) (int64, error) {
	if seconds > secondsMax {
		seconds /= 1000
	}
	if math.IsNaN(seconds) || seconds < 0 || seconds > secondsMax {
		return 0, fmt.Errorf("the time %v is not a number of seconds since 1970", seconds)
	}
	return inYears(time.UnixMicro(int64(math.Round(seconds * 1e6))))
}

func inYears(t time.Time) (int64, error) {
	if y := t.UTC().Year(); y < yearMin || y > yearMax {
		return 0, fmt.Errorf("the time %s is not between %d and %d", t.UTC().Format(time.RFC3339), yearMin, yearMax)
	}
	return t.UnixMicro(), nil
}

func status(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n > 999 {
		return 0, fmt.Errorf("%q is not a status code", shorten(text))
	}
	return uint16(n), nil
}

// sizeMax limits sizes and durations. Within this limit, even the sum over all lines of a log does not overflow.
const sizeMax = 1 << 50

// number parses a size; "-" means that there was none.
func number(text string) (uint64, error) {
	if text == "-" || text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > sizeMax {
		return 0, fmt.Errorf("%q is not a number of bytes", shorten(text))
	}
	return n, nil
}

var errDuration = errors.New("is not a number of seconds")

// seconds parses a duration, either a number of seconds or a number with a unit, and returns microseconds. nginx lists one duration for
// each server to which it sent the request: "0.003, 0.005 : 0.001". These are added up; "-" means that there was none.
func seconds(text string) (micros uint64, known bool, err error) {
	for _, one := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ':' || r == ' ' }) {
		if one == "-" {
			continue
		}
		v, err := strconv.ParseFloat(one, 64)
		if err != nil {
			d, err := time.ParseDuration(one)
			if err != nil {
				return 0, false, fmt.Errorf("duration %q %w", shorten(text), errDuration)
			}
			v = d.Seconds()
		}
		n, err := microsOf(v)
		if err != nil {
			return 0, false, err
		}
		micros, known = micros+n, true
	}
	return micros, known, nil
}

func microsOf(seconds float64) (uint64, error) {
	if !(seconds >= 0) || seconds*1e6 > sizeMax {
		return 0, fmt.Errorf("duration %v %w", seconds, errDuration)
	}
	return uint64(math.Round(seconds * 1e6)), nil
}

// shorten truncates text from a log for use in an error.
func shorten(text string) string {
	const limit = 60
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}

package stats

import "time"

// HourMinutes is the number of minutes in an hour.
const HourMinutes = 60

const minuteMicros = int64(time.Minute / time.Microsecond)

// MinuteOf returns the minute since 1970 that contains t. Times before 1970 are also rounded down.
func MinuteOf(t time.Time) int64 { return MinuteOfMicros(t.UnixMicro()) }

// MinuteOfMicros is like [MinuteOf], for a time in microseconds since 1970.
func MinuteOfMicros(micros int64) int64 {
	m := micros / minuteMicros
	if micros%minuteMicros < 0 {
		m--
	}
	return m
}

// MinuteStart returns the time at which a minute begins.
func MinuteStart(minute int64) time.Time { return time.Unix(minute*60, 0).UTC() }

// HourOfMinute returns the hour that contains a minute.
func HourOfMinute(minute int64) int64 {
	h := minute / HourMinutes
	if minute%HourMinutes < 0 {
		h--
	}
	return h
}

// EncodedMinute is a row of one minute, encoded by [Row.AppendBinary], or part of such a row: all elements for the same minute must be
// added up.
type EncodedMinute struct {
	Minute int64 // since 1970
	Row    []byte
}

// Gap is a period in which nothing was recorded, because wayside was not running.
type Gap struct{ From, To time.Time }

package stats

import (
	"cmp"
	"strings"
	"time"
)

// Key is the name of a row: a host, a method, a path and a route in one hour. Without the hour, it is the name of a row over any range of
// hours.
type Key struct {
	Hour   int64 // hours since 1970-01-01T00:00Z
	Host   string
	Method string
	Label  string // path template, or "(other)"
	Route  string // name of the route that the requests took; empty if they took none
}

// ImportedRoute is the route of all rows that come from imported access logs. No route of a configuration can have this name. The rows
// are not part of the accounting, because wayside did not record their responses.
const ImportedRoute = "(imported)"

// Compare defines an order of keys, so rows with equal figures are always listed in the same order.
func (k Key) Compare(o Key) int {
	return cmp.Or(strings.Compare(k.Label, o.Label), strings.Compare(k.Host, o.Host), strings.Compare(k.Method, o.Method),
		strings.Compare(k.Route, o.Route), cmp.Compare(k.Hour, o.Hour))
}

// Clone copies the texts of a key that is only valid during a call.
func (k Key) Clone() Key {
	return Key{
		Hour: k.Hour, Host: strings.Clone(k.Host), Method: strings.Clone(k.Method), Label: strings.Clone(k.Label), Route: strings.Clone(k.Route),
	}
}

const hourMicros = int64(time.Hour / time.Microsecond)

// HourOf returns the hour since 1970 that contains t. Times before 1970 are also rounded down.
func HourOf(t time.Time) int64 { return HourOfMicros(t.UnixMicro()) }

// HourOfMicros is like [HourOf], for a time in microseconds since 1970.
func HourOfMicros(micros int64) int64 {
	h := micros / hourMicros
	if micros%hourMicros < 0 {
		h--
	}
	return h
}

// HourStart returns the time at which an hour begins.
func HourStart(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

//go:build !faults

package clock

import "time"

// Now returns the current wall-clock time.
func Now() time.Time { return time.Now() }

// At returns the time that Now would have returned at t, which is a result of time.Now.
func At(t time.Time) time.Time { return t }

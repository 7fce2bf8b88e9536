package upstream

import "time"

// State says whether a server receives requests.
type State uint8

// The states of a server.
const (
	Up      State = iota // it receives requests
	Down                 // active checks fail
	Ejected              // requests have failed, so it receives none for a time
)

// String returns the name of the state as the API shows it.
func (s State) String() string { return [...]string{"up", "down", "ejected"}[s] }

// growthMax is the largest factor by which an ejection is longer than the first one.
const growthMax = 10

// Health says whether a server may be used, by active checks and by what happens to its requests. The caller holds a lock.
type Health struct {
	state State
	since time.Time
	why   string

	down          bool
	fails, passes int // successive results of active checks

	ejectedUntil time.Time // zero: not ejected
	ejectedFor   time.Duration
	ejections    int // successive ones, with no time of good service in between
}

// Checked records the result of an active check; a nil error means that the server has passed. After so many successive failures the
// server is down, and after so many passes it is up. It reports whether the state has changed.
func (h *Health) Checked(err error, fails, passes int, now time.Time) (changed bool) {
	if err == nil {
		h.fails = 0
		if h.passes++; !h.down || h.passes < passes {
			return false
		}
		h.down = false
		return h.set(now, "passes its checks")
	}
	h.passes = 0
	if h.fails++; h.down || h.fails < fails {
		return false
	}
	h.down = true
	return h.set(now, "check: "+err.Error())
}

// Unchecked forgets what active checks have found: there are none any more. It reports whether the state has changed.
func (h *Health) Unchecked(now time.Time) (changed bool) {
	h.fails, h.passes = 0, 0
	if !h.down {
		return false
	}
	h.down = false
	return h.set(now, "is not checked any more")
}

// Eject takes the server out of use: for d at first, and longer each time, up to growthMax times d. If it has served for at least as long
// as its last ejection took, the count begins again. It returns for how long.
func (h *Health) Eject(d time.Duration, why string, now time.Time) time.Duration {
	if now.Sub(h.ejectedUntil) >= h.ejectedFor {
		h.ejections = 0
	}
	h.ejections++
	h.ejectedFor = d * time.Duration(min(h.ejections, growthMax))
	h.ejectedUntil = now.Add(h.ejectedFor)
	h.set(now, why)
	return h.ejectedFor
}

// Expire ends the ejection if its time is over, or if force is set. It reports whether the state has changed.
func (h *Health) Expire(now time.Time, force bool) (changed bool) {
	if h.state != Ejected {
		return false
	}
	why := "the time of its ejection is over"
	if force && h.ejectedUntil.After(now) {
		h.ejectedUntil, why = now, "no other server is left"
	}
	return h.set(now, why)
}

// set computes the state. It reports whether it has changed.
func (h *Health) set(now time.Time, why string) bool {
	before := h.state
	switch {
	case h.down:
		h.state = Down
	case h.ejectedUntil.After(now):
		h.state = Ejected
	default:
		h.state = Up
	}
	if h.state == before {
		return false
	}
	h.since, h.why = now, why
	return true
}

// State returns the state, since when it lasts (zero: from the beginning), and why.
func (h *Health) State() (s State, since time.Time, why string) { return h.state, h.since, h.why }

// EjectedUntil returns when the present ejection ends; zero: the server is not ejected.
func (h *Health) EjectedUntil() time.Time {
	if h.state != Ejected {
		return time.Time{}
	}
	return h.ejectedUntil
}

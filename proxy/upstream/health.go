package upstream

import "time"

// State describes whether a server receives requests.
type State uint8

// The states of a server.
const (
	Up      State = iota // it receives requests
	Down                 // its active checks fail
	Ejected              // requests have failed, so it receives none for a while
)

// String returns the name of the state that the API shows.
func (s State) String() string { return [...]string{"up", "down", "ejected"}[s] }

// growthMax limits the length of an ejection, as a multiple of the first one.
const growthMax = 10

// Health determines whether a server may be used, from active checks and from the outcome of its requests. The caller must hold a lock while calling
// its methods.
type Health struct {
	state State
	since time.Time
	why   string

	down          bool
	fails, passes int // consecutive results of active checks

	ejectedUntil time.Time // zero if the server is not ejected
	ejectedFor   time.Duration
	ejections    int // consecutive ejections, without a period of good service between them
}

// Checked records the result of an active check; a nil error means that the server has passed. The server is down after the given number
// of consecutive failures, and up again after the given number of consecutive passes. Checked reports whether the state has changed.
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

// Unchecked forgets the results of active checks, because they have been switched off. It reports whether the state has changed.
func (h *Health) Unchecked(now time.Time) (changed bool) {
	h.fails, h.passes = 0, 0
	if !h.down {
		return false
	}
	h.down = false
	return h.set(now, "is no longer checked")
}

// Eject takes the server out of use and returns for how long: for d the first time, and longer each further time, up to growthMax times d. If the
// server has been in use for at least as long as its last ejection lasted, the next ejection counts as the first again.
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
	why := "its ejection has ended"
	if force && h.ejectedUntil.After(now) {
		h.ejectedUntil, why = now, "no other server is left"
	}
	return h.set(now, why)
}

// set computes the state. It reports whether the state has changed.
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

// State returns the state, the time at which it began (zero if it has never changed), and the reason.
func (h *Health) State() (s State, since time.Time, why string) { return h.state, h.since, h.why }

// EjectedUntil returns when the current ejection ends, or zero if the server is not ejected.
func (h *Health) EjectedUntil() time.Time {
	if h.state != Ejected {
		return time.Time{}
	}
	return h.ejectedUntil
}

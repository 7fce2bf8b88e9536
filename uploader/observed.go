package uploader

import (
	"time"
)

// A clock that leaps a year ahead makes everything look a year old, and what expires is gone. So age in the archive is not
// taken from the wall clock but from time that was seen to pass: the monotonic clock of this process, added up over all
// processes that kept these books. Time in which none of them ran does not count; nothing was archived then either, so the
// archive is bounded all the same.

// jobObserved is the name under which the sum is remembered, beside the jobs.
const jobObserved = "observed"

// stopwatch adds up the time that was seen to pass. Owned by whoever holds the job's token.
type stopwatch struct {
	elapsed    func() time.Duration // since some moment; never leaps
	loaded     bool
	before     time.Duration // seen by earlier processes, once loaded, and by this one up to mark
	mark       time.Duration
	remembered time.Duration // what was last stored
}

// monotonic is the time since the process began, by the monotonic clock.
func monotonic() func() time.Duration {
	began := time.Now() //nolint:forbidigo // its monotonic reading is what is wanted
	return func() time.Duration { return time.Since(began) }
}

// observed returns the time seen to pass since the store was made, and remembers it durably.
func (u *Uploader) observed() (time.Duration, error) {
	w := &u.watch
	now := w.elapsed()
	if !w.loaded {
		state, err := u.o.Memory.Job(jobObserved)
		if err != nil {
			return 0, err //nolint:wrapcheck // names the job
		}
		w.before, w.loaded = state.Observed, true
	}
	w.before += max(now-w.mark, 0)
	w.mark = now
	return w.before, nil
}

// rememberObserved stores the sum. What is not stored is counted again by nobody: objects stay a little longer.
func (u *Uploader) rememberObserved() {
	seen, err := u.observed()
	if err == nil && seen-u.watch.remembered < observedStep {
		return
	}
	if err == nil {
		state, loadErr := u.o.Memory.Job(jobObserved)
		state.Observed, u.watch.remembered = seen, seen
		if err = loadErr; err == nil {
			err = u.o.Memory.SetJob(jobObserved, state)
		}
	}
	if err != nil {
		u.o.Logger.Warn("the time that passed was not remembered; objects expire later for it", "error", err)
	}
}

// observedStep is how much must have passed to be worth a write.
const observedStep = time.Minute

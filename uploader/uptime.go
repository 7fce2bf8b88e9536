package uploader

import (
	"log/slog"
	"time"
)

// jobObserved is the name under which the sum is stored, beside the jobs.
const jobObserved = "observed"

// uptimeStep is how much time must have passed before the sum is stored again.
const uptimeStep = time.Minute

// uptime adds up the time during which wayside ran, over all processes that used this store. Objects expire by it: if the
// wall clock jumped a year ahead, everything would look a year old. Time in which no process ran does not count. Nothing was
// archived then either, so the size of the archive stays bounded.
type uptime struct {
	memory  Memory
	elapsed func() time.Duration // Options.Elapsed
	logger  *slog.Logger

	loaded bool          // the sum of earlier processes was added
	sum    time.Duration // up to mark
	mark   time.Duration // by elapsed
	stored time.Duration
}

// monotonic returns the time since the process began, by the monotonic clock.
func monotonic() func() time.Duration {
	began := time.Now() // for its monotonic reading
	return func() time.Duration { return time.Since(began) }
}

// now returns the time since the store was made.
func (t *uptime) now() (time.Duration, error) {
	now := t.elapsed()
	if !t.loaded {
		state, err := t.memory.Job(jobObserved)
		if err != nil {
			return 0, err // names the job
		}
		t.sum, t.loaded = state.Observed, true
	}
	t.sum += max(now-t.mark, 0)
	t.mark = now
	return t.sum, nil
}

// save stores the sum durably, at most once a minute. If it fails, objects expire a little later.
func (t *uptime) save() {
	sum, err := t.now()
	if err == nil && sum-t.stored < uptimeStep {
		return
	}
	if err == nil {
		state, loadErr := t.memory.Job(jobObserved)
		state.Observed, t.stored = sum, sum
		if err = loadErr; err == nil {
			err = t.memory.SetJob(jobObserved, state)
		}
	}
	if err != nil {
		t.logger.Warn("cannot store how long wayside has run; archive objects expire later", "error", err)
	}
}

package uploader

import (
	"log/slog"
	"time"
)

// jobObserved is the name under which the sum is stored, next to the jobs.
const jobObserved = "observed"

// uptimeStep is the time that must pass before the sum is stored again.
const uptimeStep = time.Minute

// uptime adds up the time during which wayside was running, over all processes that have used this store. The age of objects is measured
// in this time. If it were measured by the wall clock, every object would seem a year old after the clock had jumped a year ahead. Time
// in which no process was running is not counted. Nothing was archived during that time either, so the size of the archive stays bounded.
type uptime struct {
	memory  Memory
	elapsed func() time.Duration // Options.Elapsed
	logger  *slog.Logger

	loaded bool          // whether the sum of earlier processes has been added
	sum    time.Duration // time up to mark
	mark   time.Duration // value of elapsed when sum was last updated
	stored time.Duration
}

// monotonic returns a function that returns the time since the process started, by the monotonic clock.
func monotonic() func() time.Duration {
	began := time.Now() // has a monotonic clock reading
	return func() time.Duration { return time.Since(began) }
}

// now returns the total time that wayside has been running since the store was created.
func (t *uptime) now() (time.Duration, error) {
	now := t.elapsed()
	if !t.loaded {
		state, err := t.memory.Job(jobObserved)
		if err != nil {
			return 0, err // the error already names the job
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
		t.logger.Warn("cannot store how long wayside has run; archive objects will expire later than configured", "error", err)
	}
}

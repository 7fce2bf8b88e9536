package uploader

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The code in this file determines what happens after a failure, such as a 503 from the S3 server. Single requests are not repeated:
// instead, the whole job runs again after a pause, and continues with the first plan that has not been archived (plan.go). A run ends
// early if every plan would fail in the same way (stopError in archive.go).

// newPause returns the increasing pauses after failures.
func (c *common) newPause() *backoff.ExponentialBackOff {
	p := backoff.NewExponentialBackOff()
	p.InitialInterval, p.MaxInterval, p.Multiplier = c.o.BackoffMin, c.o.BackoffMax, 2
	p.Reset()
	return p
}

// done sets the time at which the job is next due: after a success, the schedule determines this time; after a failure, a pause does.
// Served is the time at which the run began, so a job that became due during the run is due immediately. After a failure, the schedule is
// ignored, because frequent attempts would not help a target that is unavailable.
func (t *timer) done(started time.Time, r Result, err error) {
	if errors.Is(err, context.Canceled) {
		return // the job stays due, even after a restart
	}
	if err == nil {
		t.pause.Reset()
		t.state.Served = started.UTC()
		t.set(t.at.next(started))
	} else {
		wait := t.pause.NextBackOff()
		t.set(t.o.Now().Add(wait))
		t.o.Logger.Warn("job failed, trying again", "job", t.job, "error", r.Error, "wait", wait.Round(time.Millisecond))
	}
	t.store(r, err)
}

package spool

import (
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/spool/queue"
)

const (
	// holdMax is how long what Peek handed out counts as being held by the consumer: meanwhile nothing from there on is given
	// up. A consumer that takes longer, and then says that it has the events, is believed (see [Set.Reconcile]).
	holdMax = time.Minute
	// expireBatchesMax bounds one transaction that gives up.
	expireBatchesMax = 4096
)

// expire counts as dropped what has waited for longer than Options.AgeMax, oldest first, in whole batches. The time is that
// during which a process of wayside held the batch: neither a clock that jumps nor a machine that was off makes a batch
// older, and after a start the consumer has all of AgeMax again. The caller holds sem.
func (c *committer) expire() error {
	if c.o.AgeMax <= 0 {
		return nil
	}
	c.mu.Lock()
	epochs := append([]*epoch(nil), c.epochs...)
	c.mu.Unlock()
	var errs []error
	for _, e := range epochs {
		total := uint64(0)
		n, more, err := c.expireSome(e)
		for total += n; more && err == nil; total += n {
			n, more, err = c.expireSome(e)
		}
		c.expired.Add(total)
		if total > 0 && e.closed { // of the active epoch, the log of drops tells
			c.o.Logger.Warn("responses that an earlier process left have waited too long: they are dropped from the books, and counted",
				"epoch", e.id, "responses", total, "age_max", c.o.AgeMax)
		}
		if e.closed {
			c.reportClosedDrops(e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// expireSome takes the oldest batches of an epoch away in one transaction with the figures that say so. Only then do the
// figures in memory follow: a death in between finds either all of it or nothing.
func (c *committer) expireSome(e *epoch) (responses uint64, more bool, err error) {
	q := e.writer()
	if q == nil {
		return 0, false, nil // nothing could say durably that they are gone
	}
	now := c.o.Now()
	c.mu.Lock()
	n := e.tooOldLocked(now, c.o.AgeMax)
	if n == 0 {
		c.mu.Unlock()
		return 0, false, nil
	}
	acknowledged, err := e.acknowledgedPartLocked()
	if err != nil {
		c.mu.Unlock()
		return 0, false, fmt.Errorf("give up what is too old: %w", err)
	}
	e.expiring, e.index = e.index[:n:n], e.index[n:]
	for i := range e.expiring {
		responses += uint64(e.expiring[i].Responses)
	}
	responses -= acknowledged
	m := e.metaWithoutLocked(responses, acknowledged)
	tx := queue.Change{Removals: q.Removals(), State: m}
	for i := range e.expiring {
		if e.expiring[i].file == q {
			tx.Remove = append(tx.Remove, e.expiring[i].Batch)
		}
	}
	c.mu.Unlock()

	crash.Point("spool.age.before")
	if err := q.Commit(tx); err != nil {
		return 0, false, c.undoExpire(e, q, err)
	}
	crash.Point("spool.age.after")
	c.commits.Add(1)
	c.mu.Lock()
	for i := range e.expiring {
		if e.expiring[i].file != nil {
			c.cachedBytes -= len(e.expiring[i].cached)
		}
	}
	e.expiring = nil
	e.reported = reportedDrops{} // the drop records may have been among them
	e.expired, e.acked = m.Expired, max(e.acked, m.Acked)
	e.ackedResponses += acknowledged
	e.recorded -= min(e.recorded, responses)
	e.counters.drop(lostAge, responses)
	e.ackPending = true // what was acknowledged during the transaction
	c.mu.Unlock()
	e.counters.committed(m)
	c.pruneAcked(e, m)
	c.recycleHeld(e)
	c.notify()
	return responses, n == expireBatchesMax, nil
}

// undoExpire puts back what could not be given up durably.
func (c *committer) undoExpire(e *epoch, q *queue.File, err error) error {
	c.mu.Lock()
	e.index, e.expiring = append(e.expiring, e.index...), nil
	if acked := e.acked; acked >= e.index[0].First { // acknowledged meanwhile
		e.acked = 0
		c.cachedBytes -= e.ackLocked(acked)
	}
	c.mu.Unlock()
	switch {
	case errors.Is(err, queue.ErrFull):
		c.fullCommits.Add(1)
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
	case e.closed:
		c.commitFailed(err)
		q.Retire()
		return nil
	default:
		return c.roll(e, err)
	}
}

// tooOldLocked is the number of batches, from the oldest on, that are older than max and that nobody holds. What waits for a newer
// wayside is never too old.
func (e *epoch) tooOldLocked(now time.Time, max time.Duration) (n int) {
	held := now.Sub(e.peekedAt) < holdMax
	for !e.newer && n < len(e.index) && n < expireBatchesMax && now.Sub(e.index[n].at) > max && (!held || e.index[n].First > e.peeked) {
		n++
	}
	return n
}

// acknowledgedPartLocked counts the responses of the oldest batch that were acknowledged, which are not there to be given up.
func (e *epoch) acknowledgedPartLocked() (uint64, error) {
	if e.index[0].First > e.acked {
		return 0, nil
	}
	left, err := e.index[0].responsesAfter(e.acked)
	return uint64(e.index[0].Responses) - min(left, uint64(e.index[0].Responses)), err
}

// metaWithoutLocked is the state once e.expiring is given up.
func (e *epoch) metaWithoutLocked(responses, acknowledged uint64) *queue.State {
	last := e.expiring[len(e.expiring)-1].Last
	m := e.stateLocked(0, nil)
	m.Reported = nil // the drop records may be among what expires
	m.Version, m.Expired, m.Acked = queue.VersionExpired, last, max(m.Acked, last)
	m.AckedResponses += acknowledged
	m.Recorded -= min(m.Recorded, responses)
	if m.Dropped == nil {
		m.Dropped = make(map[string]uint64)
	}
	m.Dropped[lostAge.String()] += responses
	return m
}

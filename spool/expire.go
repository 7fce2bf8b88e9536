package spool

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/spool/queue"
)

const (
	// holdMax is how long after a Peek the consumer is assumed to be working on the batches that it received. Those batches do not expire
	// during that time. If a consumer takes longer and then reports that it has the events, its report counts (see [Set.Reconcile]).
	holdMax = time.Minute
	// expireBatchesMax limits the number of batches that expire in one transaction.
	expireBatchesMax = 4096
)

// expire drops and counts the batches that have waited longer than Options.AgeMax, oldest first. A batch's age starts from zero whenever
// a process opens the spool: after a start, the consumer has the full AgeMax again, no matter how long wayside was not running. Ages are
// measured with the monotonic clock, so a jump of the wall clock does not change them.
func (c *committer) expire() error {
	if c.o.AgeMax <= 0 {
		return nil
	}
	var errs []error
	for _, e := range c.allEpochs() {
		total := uint64(0)
		n, more, err := c.expireSome(e)
		for total += n; more && err == nil; total += n {
			n, more, err = c.expireSome(e)
		}
		c.expired.Add(total)
		if total > 0 && e.closed { // dropLog covers the current epoch
			c.o.Logger.Warn("responses left by an earlier process have waited too long: they have been dropped from the books and are counted as dropped",
				"epoch", e.id, "responses", total, "age_max", c.o.AgeMax)
		}
		if e.closed {
			c.reportClosedDrops(e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// expireSome removes the oldest batches of an epoch and counts them as dropped, in one transaction. The figures in memory change only after
// the transaction has been committed. If the process dies, the next one finds either all of the change or none of it.
func (c *committer) expireSome(e *epoch) (responses uint64, more bool, err error) {
	q := e.writer()
	if q == nil {
		return 0, false, nil // without a file, the drops cannot be made durable
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
		return 0, false, fmt.Errorf("expire old batches: %w", err)
	}
	e.expiring, e.index = e.index[:n:n], e.index[n:]
	responses = heldIn(e.expiring) - acknowledged
	state := e.stateAfterExpiryLocked(responses, acknowledged)
	tx := queue.Change{Removals: q.Removals(), State: state}
	for i := range e.expiring {
		if e.expiring[i].file == q {
			tx.Remove = append(tx.Remove, e.expiring[i].Batch)
		}
	}
	c.mu.Unlock()

	crash.Point("spool.age.before")
	if err := q.Commit(tx); err != nil {
		c.undoExpire(e)
		return 0, false, c.changeFailed(e, q, err)
	}
	crash.Point("spool.age.after")
	c.commits.Add(1)
	c.mu.Lock()
	for i := range e.expiring {
		c.cachedBytes -= e.expiring[i].cachedCopy()
	}
	e.expiring = nil
	e.reported = reportedDrops{} // the drop records may have been among the expired ones
	e.expired, e.acked = state.Expired, max(e.acked, state.Acked)
	e.ackedResponses += acknowledged
	e.recorded -= min(e.recorded, responses)
	e.counters.drop(lostAge, responses)
	e.ackPending = true // for acknowledgments that came during the transaction
	c.mu.Unlock()
	e.counters.committed(state)
	c.pruneAcked(e, state)
	c.recycleHeld(e)
	c.notify()
	return responses, n == expireBatchesMax, nil
}

// undoExpire puts back the batches whose removal could not be committed.
func (c *committer) undoExpire(e *epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.index, e.expiring = slices.Concat(e.expiring, e.index), nil
	if acked := e.acked; acked >= e.index[0].First { // acknowledged in the meantime
		e.acked = 0
		c.cachedBytes -= e.ackLocked(acked)
	}
}

// tooOldLocked returns how many of the oldest batches are older than ageMax and not held by a consumer. Batches that wait for a newer wayside
// are never too old.
func (e *epoch) tooOldLocked(now time.Time, ageMax time.Duration) (n int) {
	held := now.Sub(e.peekedAt) < holdMax
	for !e.newer && n < len(e.index) && n < expireBatchesMax && now.Sub(e.index[n].at) > ageMax && (!held || e.index[n].First > e.peeked) {
		n++
	}
	return n
}

// acknowledgedPartLocked counts the responses in the oldest batch that have already been acknowledged and therefore cannot expire.
func (e *epoch) acknowledgedPartLocked() (uint64, error) {
	if e.index[0].First > e.acked {
		return 0, nil
	}
	left, err := e.index[0].responsesAfter(e.acked)
	return uint64(e.index[0].Responses) - min(left, uint64(e.index[0].Responses)), err
}

// stateAfterExpiryLocked returns the state to commit when the batches in e.expiring are dropped.
func (e *epoch) stateAfterExpiryLocked(responses, acknowledged uint64) *queue.State {
	last := e.expiring[len(e.expiring)-1].Last
	s := e.stateLocked(0, nil)
	s.Reported = nil // the drop records may expire too
	s.Version, s.Expired, s.Acked = queue.VersionExpired, last, max(s.Acked, last)
	s.AckedResponses += acknowledged
	s.Recorded -= min(s.Recorded, responses)
	if s.Dropped == nil {
		s.Dropped = make(map[string]uint64)
	}
	s.Dropped[lostAge.String()] += responses
	return s
}

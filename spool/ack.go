package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Ack implements Source.
func (s *Set) Ack(_ context.Context, id uuid.UUID, seq uint64) error {
	crash.Point("spool.ack.before")
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.epochLocked(id)
	if e == nil {
		return fmt.Errorf("acknowledge %s: %w", id, ErrUnknownEpoch)
	}
	if seq > e.lastSeq {
		return fmt.Errorf("acknowledge %s up to %d: %w: %d", id, seq, ErrAckBeyond, e.lastSeq)
	}
	s.cachedBytes -= e.ackLocked(seq)
	s.notify()
	crash.Point("spool.ack.after")
	return nil
}

// commitAcks commits the pending acknowledgments of all epochs.
func (c *committer) commitAcks() error {
	var errs []error
	for _, e := range c.allEpochs() {
		c.mu.Lock()
		pending := e.ackPending
		c.mu.Unlock()
		if pending {
			errs = append(errs, c.commitAcksOf(e))
		}
	}
	return errors.Join(errs...)
}

// commitAcksOf commits the state and the acknowledgments of an epoch. If no queue file of the epoch can be written, the acknowledgments
// are kept in memory only. After a restart, the acknowledged events are then delivered again, which consumers must expect.
func (c *committer) commitAcksOf(e *epoch) error {
	q := e.writer()
	c.mu.Lock()
	if q == nil {
		e.ackPending = false
		c.mu.Unlock()
		return nil
	}
	tx := queue.Change{Removals: q.Removals(), State: e.stateLocked(0, nil)}
	c.mu.Unlock()
	if err := q.Commit(tx); err != nil {
		return c.changeFailed(e, q, err)
	}
	c.commits.Add(1)
	e.counters.committed(tx.State)
	c.pruneAcked(e, tx.State)
	c.recycleHeld(e)
	return nil
}

// changeFailed handles the failure of a commit without a batch. The current epoch continues in a new queue file. A closed epoch becomes
// read-only.
func (c *committer) changeFailed(e *epoch, q *queue.File, err error) error {
	switch {
	case errors.Is(err, queue.ErrFull):
		return c.queueFull(err)
	case e.closed:
		c.commitFailed(err)
		q.Retire()
		c.mu.Lock()
		e.ackPending = false
		c.mu.Unlock()
		return nil
	default:
		return c.roll(e, err)
	}
}

// pruneAcked must be called after state has become durable. If state includes all acknowledgments, it removes the queue files without a
// batch in the index, except the newest one.
func (c *committer) pruneAcked(e *epoch, state *queue.State) {
	c.mu.Lock()
	var drained []*queue.File
	if e.acked == state.Acked {
		e.ackPending = false
		if n := len(e.files); n > 1 {
			inUse := map[*queue.File]bool{e.files[n-1]: true}
			for i := range e.index {
				inUse[e.index[i].file] = true
			}
			e.files = slices.DeleteFunc(slices.Clone(e.files), func(q *queue.File) bool {
				if !inUse[q] {
					drained = append(drained, q)
				}
				return !inUse[q]
			})
		}
	}
	c.mu.Unlock()
	for _, q := range drained {
		if err := errors.Join(q.Close(), os.Remove(q.Name())); err != nil {
			c.o.Logger.Warn("cannot remove a queue file whose events have all been applied; it stays until the next start",
				"file", q.Name(), "error", err)
		}
	}
}

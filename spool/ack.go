package spool

import (
	"context"
	"errors"
	"fmt"
	"os"

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

// commitAcks commits the acknowledgements of every epoch that has some. The caller holds sem.
func (c *committer) commitAcks() error {
	c.mu.Lock()
	epochs := append([]*epoch(nil), c.epochs...)
	c.mu.Unlock()
	var errs []error
	for _, e := range epochs {
		c.mu.Lock()
		pending := e.ackPending
		c.mu.Unlock()
		if pending {
			errs = append(errs, c.commitAcksOf(e))
		}
	}
	return errors.Join(errs...)
}

// commitAcksOf commits state and acknowledgements of an epoch. A closed epoch that cannot be written keeps them in memory:
// after a restart its events are delivered again, which consumers must expect.
func (c *committer) commitAcksOf(e *epoch) error {
	q := e.writer()
	c.mu.Lock()
	if q == nil {
		e.ackPending = false
		c.mu.Unlock()
		return nil
	}
	m := e.stateLocked(0, nil)
	tx := queue.Change{Removals: q.Removals(), State: m}
	c.mu.Unlock()
	err := q.Commit(tx)
	switch {
	case err == nil:
		c.commits.Add(1)
		e.counters.committed(m)
		c.pruneAcked(e, m)
		c.recycleHeld(e)
		return nil
	case errors.Is(err, queue.ErrFull):
		c.fullCommits.Add(1)
		return fmt.Errorf("%w: %w", ErrQueueFull, err)
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

// pruneAcked notes that m is durable, and removes the queue files that have nothing left to deliver.
func (c *committer) pruneAcked(e *epoch, m *queue.State) {
	c.mu.Lock()
	if e.acked == m.Acked {
		e.ackPending = false
	}
	var drained []*queue.File
	if len(e.files) > 1 {
		inUse := make(map[*queue.File]bool)
		for i := range e.index {
			inUse[e.index[i].file] = true
		}
		last := len(e.files) - 1
		kept := make([]*queue.File, 0, len(e.files))
		for i, q := range e.files {
			if i == last || inUse[q] || e.acked != m.Acked {
				kept = append(kept, q)
			} else {
				drained = append(drained, q)
			}
		}
		e.files = kept
	}
	c.mu.Unlock()
	for _, q := range drained {
		if err := errors.Join(q.Close(), os.Remove(q.Name())); err != nil {
			c.o.Logger.Warn("drained queue file stays", "file", q.Name(), "error", err)
		}
	}
}

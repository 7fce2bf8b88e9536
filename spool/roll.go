package spool

import (
	"errors"
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// roll begins a new queue file after the present one failed, and commits there the segments that the failed one may not
// have kept. The failed file is only read from now on.
func (c *committer) roll(e *epoch, cause error) error {
	c.commitFailed(cause)
	if err := c.replace(e, cause); err != nil {
		return err
	}
	c.o.Logger.Warn("queue file failed, continuing in a new one", "error", cause)
	return nil
}

// replace is roll without the log. The held segments are committed in the new file.
func (c *committer) replace(e *epoch, cause error) error {
	number := 0
	c.mu.Lock()
	for _, q := range e.files {
		q.Retire()
		number = q.Number() + 1
	}
	m := e.stateLocked(0, nil)
	c.mu.Unlock()
	q, err := queue.Create(c.o.queue(), e.dir, number, m)
	if err != nil {
		c.setDegraded("no queue file: " + err.Error())
		return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(cause, err))
	}
	for _, seg := range c.held(e) {
		b, value := c.build(seg)
		if b.Records == 0 {
			continue
		}
		c.mu.Lock()
		found := e.findLocked(b.First) != nil
		c.mu.Unlock()
		if !found {
			continue // acknowledged meanwhile
		}
		if err := q.Commit(queue.Change{Batch: &b.Batch, Value: value, State: m}); err != nil {
			_ = q.Close()
			_ = os.Remove(q.Name())
			c.setDegraded("no queue file: " + err.Error())
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		c.mu.Lock()
		if at := e.findLocked(b.First); at != nil {
			at.file = q
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.files = append(e.files, q)
	return nil
}

// held is the segments that the last commit took, which a file that failed may not have kept.
func (c *committer) held(e *epoch) []*journal.Segment {
	if j := c.journal.Load(); j != nil && e == c.current {
		return j.HeldSegments()
	}
	return nil
}

func (c *committer) commitFailed(err error) {
	c.commitErrors.Add(1)
	c.setDegraded("commit: " + err.Error())
	c.o.Logger.Error("spool commit failed", "error", err)
}

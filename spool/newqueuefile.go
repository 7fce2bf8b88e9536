package spool

import (
	"errors"
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// roll continues in a new queue file after the current one has failed. The failed file becomes read-only.
func (c *committer) roll(e *epoch, cause error) error {
	c.commitFailed(cause)
	if err := c.replace(e, cause); err != nil {
		return err
	}
	c.o.Logger.Warn("queue file failed; continuing in a new one", "error", cause)
	return nil
}

// replace retires the queue files and creates a new one. It commits the held segments to the new file, because they may be missing from
// the last file on disk.
func (c *committer) replace(e *epoch, cause error) error {
	number := 0
	c.mu.Lock()
	for _, q := range e.files {
		q.Retire()
		number = q.Number() + 1
	}
	state := e.stateLocked(0, nil)
	c.mu.Unlock()
	q, err := queue.Create(c.o.queue(), e.dir, number, state)
	if err != nil {
		c.setDegraded("no queue file: " + err.Error())
		return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(cause, err))
	}
	for _, seg := range c.held(e) {
		if err := c.move(e, seg, q, state); err != nil {
			_ = q.Close()
			_ = os.Remove(q.Name())
			c.setDegraded("no queue file: " + err.Error())
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.files = append(e.files, q)
	return nil
}

// move commits a held segment to another queue file, unless its batch has been acknowledged in the meantime.
func (c *committer) move(e *epoch, seg *journal.Segment, to *queue.File, state *queue.State) error {
	b, value := c.build(seg)
	if value == nil || !c.isHeld(e, b.First) {
		return nil
	}
	if err := to.Commit(queue.Change{Batch: &b.Batch, Value: value, State: state}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := e.findLocked(b.First); at != nil {
		at.file = to
	}
	return nil
}

// held returns the segments of the last commit. They may be missing on disk from a file that has failed.
func (c *committer) held(e *epoch) []*journal.Segment {
	if j := c.journal.Load(); j != nil && e == c.current {
		return j.Held()
	}
	return nil
}

func (c *committer) commitFailed(err error) {
	c.commitErrors.Add(1)
	c.setDegraded("commit: " + err.Error())
	c.o.Logger.Error("cannot write to a queue file of the spool; unwritten events stay in the journal or in memory", "error", err)
}

package spool

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotScrubbed means that files of the spool may still contain acknowledged records.
var ErrNotScrubbed = errors.New("files of the spool still hold acknowledged records")

var errScrubbing = errors.New("scrubbing")

// scrubPause is the time between two steps of Scrub.
const scrubPause = 100 * time.Millisecond

// Scrub overwrites or removes the acknowledged records that are still in files of the current epoch: bbolt keeps freed pages, and a journal
// segment keeps its records until it is used again. Recording continues. A file with an unacknowledged record cannot be removed, so Scrub
// waits until all records that were appended before the call have been acknowledged. If ctx is done before that, the error wraps
// [ErrNotScrubbed]. Folders of dead processes are removed when they are retired.
func (s *Set) Scrub(ctx context.Context) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	if err := s.step(ctx, (*committer).beginScrub); err != nil {
		return fmt.Errorf("scrub spool: %w", err)
	}
	for {
		clean := false
		err := s.step(ctx, func(c *committer) (err error) { clean, err = c.scrubStep(); return err })
		if err == nil && clean {
			return nil
		}
		select {
		case <-time.After(scrubPause):
		case <-ctx.Done():
			return fmt.Errorf("scrub spool: %w: %w", ErrNotScrubbed, errors.Join(err, ctx.Err()))
		}
	}
}

// beginScrub continues in a new queue file.
func (c *committer) beginScrub() error {
	if c.journal.Load() == nil || c.current.writer() == nil {
		return ErrUnavailable
	}
	if err := c.replace(c.current, errScrubbing); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current.ackPending = true // makes sure that a later commit removes the old file once it is drained
	return nil
}

// scrubStep commits everything, which frees segments and removes drained files, and overwrites the free segments. It reports whether all old
// records are gone from all files.
func (c *committer) scrubStep() (clean bool, err error) {
	j := c.journal.Load()
	if j == nil {
		return false, ErrUnavailable
	}
	if err := c.commit(true); err != nil {
		return false, err
	}
	if err := c.commitAcksOf(c.current); err != nil {
		return false, err
	}
	clean = j.Scrub()
	c.mu.Lock()
	defer c.mu.Unlock()
	return clean && len(c.current.files) == 1, nil
}

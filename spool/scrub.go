package spool

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotScrubbed says that files of the spool may still hold records that were acknowledged.
var ErrNotScrubbed = errors.New("files of the spool still hold records that were acknowledged")

var errScrubbing = errors.New("scrubbing")

// scrubPause lies between two looks of Scrub.
const scrubPause = 100 * time.Millisecond

// Scrub overwrites or removes what the files of the active epoch keep of records that were acknowledged before the call:
// bbolt keeps freed pages, and the journal keeps a segment's records until it is used again. Recording goes on meanwhile. It
// waits, until ctx is done, for the records that came before it to be acknowledged, because a file that still holds one
// cannot go; then the error wraps [ErrNotScrubbed]. Folders of dead processes are removed when they are retired.
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

// beginScrub goes on in a new queue file. The caller holds sem.
func (c *committer) beginScrub() error {
	if c.journal.Load() == nil || c.current.writer() == nil {
		return ErrUnavailable
	}
	if err := c.replace(c.current, errScrubbing); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current.ackPending = true // the commit that removes the file before, if it is drained
	return nil
}

// scrubStep commits what there is, which lets segments and drained files go, and overwrites the free segments. It reports
// whether nothing from before is left. The caller holds sem.
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

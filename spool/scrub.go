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
	if err := s.step(ctx, s.beginScrub); err != nil {
		return fmt.Errorf("scrub spool: %w", err)
	}
	for {
		clean := false
		err := s.step(ctx, func() (err error) { clean, err = s.scrubStep(); return err })
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
func (s *Set) beginScrub() error {
	if s.journal.Load() == nil || s.current.writer() == nil {
		return ErrUnavailable
	}
	if err := s.replace(s.current, errScrubbing); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.ackPending = true // the commit that removes the file before, if it is drained
	return nil
}

// scrubStep commits what there is, which lets segments and drained files go, and overwrites the free segments. It reports
// whether nothing from before is left. The caller holds sem.
func (s *Set) scrubStep() (clean bool, err error) {
	j := s.journal.Load()
	if j == nil {
		return false, ErrUnavailable
	}
	if err := s.commit(true); err != nil {
		return false, err
	}
	if err := s.commitAcksOf(s.current); err != nil {
		return false, err
	}
	clean = j.Scrub()
	s.mu.Lock()
	defer s.mu.Unlock()
	return clean && len(s.current.files) == 1, nil
}

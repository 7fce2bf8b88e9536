package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// flattenInterval and flattenEventsMin limit how often deleting is followed by a Flatten, which rewrites the tables.
	flattenInterval  = 10 * time.Minute
	flattenEventsMin = 50_000
)

// Run does the store's regular work until ctx is done: a checkpoint every CheckpointInterval, hints to the kernel about
// mapped memory, the reserve file, and a Flatten after large deletions. It returns nil when ctx is done, and an error that
// wraps [ErrFailed] when the store must be opened again. The last checkpoint is made by Close.
func (s *Store) Run(ctx context.Context) error {
	checkpoints := time.NewTicker(s.o.CheckpointInterval)
	defer checkpoints.Stop()
	var pageouts <-chan time.Time
	if s.o.PageoutInterval > 0 {
		t := time.NewTicker(s.o.PageoutInterval)
		defer t.Stop()
		pageouts = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-checkpoints.C:
			err := s.Checkpoint()
			if errors.Is(err, ErrClosed) {
				return nil
			}
			if err != nil {
				s.o.Logger.Error("store: checkpoint", "error", err)
			}
			if err := s.Failed(); err != nil {
				return err
			}
			if err := s.flattenIfDue(); err != nil {
				s.o.Logger.Warn("store: flatten", "error", err)
			}
		case <-pageouts:
			s.maintain()
		}
	}
}

func (s *Store) maintain() {
	if s.enter() != nil {
		return
	}
	defer s.leave()
	s.pageout()
	s.keepReserve()
}

// flattenIfDue gives the space of deleted events back to the file system, now and then.
func (s *Store) flattenIfDue() error {
	s.mu.Lock()
	now := s.o.Now()
	due := s.undeleted >= flattenEventsMin && now.Sub(s.flattenedAt).Abs() >= flattenInterval
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.Flatten()
}

// Flatten merges Badger's levels so that the space of deleted events is given back to the file system. It runs beside
// everything else, but rewrites most tables: [Store.Run] calls it after large deletions, at most every ten minutes.
func (s *Store) Flatten() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.mu.Lock()
	s.undeleted = 0
	s.flattenedAt = s.o.Now()
	s.mu.Unlock()
	if err := s.db.Flatten(1); err != nil {
		return fmt.Errorf("%w: flatten: %w", ErrUnavailable, err)
	}
	return nil
}

package store

import (
	"context"
	"errors"
	"time"
)

// tidyInterval is the time between looks at what can be given back to the kernel.
const tidyInterval = time.Second

// pageoutBytes is the amount written after which mapped pages are given back before PageoutInterval is over.
const pageoutBytes = 8 << 20

// Run does the store's regular work until ctx is done: a checkpoint every CheckpointInterval, hints to the kernel about
// mapped memory, the reserve file, and a Flatten after large deletions. It returns nil when ctx is done, and an error that
// wraps [ErrFailed] when the store must be opened again. The last checkpoint is made by Close.
func (s *Store) Run(ctx context.Context) error {
	checkpoints := time.NewTicker(s.o.CheckpointInterval)
	defer checkpoints.Stop()
	tidy := time.NewTicker(tidyInterval)
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-checkpoints.C:
			if err := s.regularCheckpoint(); err != nil {
				return err
			}
		case <-tidy.C:
			s.tidy()
		}
	}
}

// regularCheckpoint returns an error only if Run has to end.
func (s *Store) regularCheckpoint() error {
	if err := s.Checkpoint(); err != nil && !errors.Is(err, ErrClosed) {
		s.o.Logger.Error("store: checkpoint", "error", err)
	}
	if err := s.Failed(); err != nil {
		return err
	}
	if err := s.flattenIfDue(); err != nil && !errors.Is(err, ErrClosed) {
		s.o.Logger.Warn("store: flatten", "error", err)
	}
	if _, err := s.Rollup(context.Background(), rollupTime); err != nil && !errors.Is(err, ErrClosed) {
		s.o.Logger.Warn("store: sums over days", "error", err)
	}
	return nil
}

// tidy gives memory back, and keeps the reserve file.
func (s *Store) tidy() {
	if s.enter() != nil {
		return
	}
	defer s.leave()
	trimBuilders(s.db)
	s.mu.Lock()
	now := s.o.Now()
	due := s.o.PageoutInterval > 0 &&
		(s.written >= pageoutBytes || now.Sub(s.pagedOutAt).Abs() >= s.o.PageoutInterval)
	if due {
		s.written, s.pagedOutAt = 0, now
	}
	s.mu.Unlock()
	if due {
		s.pageout()
		s.keepReserve()
	}
}

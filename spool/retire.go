package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/disk"
)

// Retire implements Source. The folder is renamed before it is removed, so that a crash leaves no half of it.
func (s *Set) Retire(ctx context.Context, id uuid.UUID) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return fmt.Errorf("retire %s: %w", id, err)
	}
	defer s.release()
	if s.closing.Load() {
		return fmt.Errorf("retire %s: %w", id, ErrClosed)
	}
	s.mu.Lock()
	e := s.epochLocked(id)
	if e == nil {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if e.closed {
		c.reportClosedDrops(e) // the figures are final now
	}
	s.mu.Lock()
	drained := e.closed && len(e.index) == 0
	s.mu.Unlock()
	if !drained {
		return fmt.Errorf("retire %s: %w", id, ErrNotDrained)
	}
	if err := c.discard(e); err != nil {
		return fmt.Errorf("retire %s: %w", id, err)
	}
	return nil
}

// discard removes an epoch and its folder. It fails only if nothing was done.
func (c *committer) discard(e *epoch) error {
	retired := filepath.Join(c.o.Dir, retiredPrefix+e.id.String())
	if err := os.Rename(e.dir, retired); err != nil {
		return fmt.Errorf("set spool folder aside: %w", err)
	}
	c.mu.Lock() // its files are closed when nobody finds it any more
	if i := slices.Index(c.epochs, e); i >= 0 {
		c.epochs = slices.Delete(slices.Clone(c.epochs), i, i+1)
		c.retired = append(c.retired, e.closedLedgerLocked())
	}
	c.mu.Unlock()
	if err := errors.Join(disk.SyncDir(c.o.Dir), e.closeFiles(), os.RemoveAll(retired)); err != nil {
		c.o.Logger.Warn("retired spool folder stays until the next start", "folder", retired, "error", err)
	}
	return nil
}

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

// Retire implements Source. The folder is renamed before it is removed, so that a crash never leaves a part of it.
func (s *Set) Retire(ctx context.Context, id uuid.UUID) error {
	if err := s.step(ctx, func(c *committer) error { return c.retire(id) }); err != nil {
		return fmt.Errorf("retire %s: %w", id, err)
	}
	return nil
}

func (c *committer) retire(id uuid.UUID) error {
	c.mu.Lock()
	e := c.epochLocked(id)
	c.mu.Unlock()
	if e == nil {
		return nil
	}
	if e.closed {
		c.reportClosedDrops(e) // the figures are final now
	}
	c.mu.Lock()
	drained := e.closed && len(e.index) == 0
	c.mu.Unlock()
	if !drained {
		return ErrNotDrained
	}
	return c.discard(e)
}

// discard removes an epoch and its folder. After an error nothing has changed.
func (c *committer) discard(e *epoch) error {
	retired := filepath.Join(c.o.Dir, retiredPrefix+e.id.String())
	if err := os.Rename(e.dir, retired); err != nil {
		return fmt.Errorf("set spool folder aside: %w", err)
	}
	c.mu.Lock() // its files must not be closed while the epoch can still be found
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

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

// Retire implements Source. It renames the folder before it removes it, so that a crash cannot leave half a folder under the old name.
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

// discard removes an epoch and its folder. If it returns an error, nothing has changed.
func (c *committer) discard(e *epoch) error {
	retired := filepath.Join(c.o.Dir, retiredPrefix+e.id.String())
	if err := os.Rename(e.dir, retired); err != nil {
		return fmt.Errorf("set spool folder aside: %w", err)
	}
	c.mu.Lock() // remove the epoch from the list before its files are closed: no reader may find it afterwards
	if i := slices.Index(c.epochs, e); i >= 0 {
		c.epochs = slices.Delete(slices.Clone(c.epochs), i, i+1)
		c.retired = append(c.retired, e.closedLedgerLocked())
	}
	c.mu.Unlock()
	if err := errors.Join(disk.SyncDir(c.o.Dir), e.closeFiles(), os.RemoveAll(retired)); err != nil {
		c.o.Logger.Warn("cannot remove a spool folder whose events have all been applied; it stays until the next start",
			"folder", retired, "error", err)
	}
	return nil
}

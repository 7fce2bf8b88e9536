package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
)

// Badger deletes tables that its MANIFEST does not list, and does not notice if the MANIFEST has been truncated. A crash also leaves
// orphaned tables: some were still being written, and their content is in a log; others had just been replaced by a compaction. Only
// after the store has been opened can it be determined whether the store really lacks the content of a table. Until then, hard links keep
// the tables from being lost.

// orphansDir returns the folder in which orphaned tables are kept while the store is being opened.
func orphansDir(o *Options) string { return o.Dir + ".unlisted" }

// checkOrphans looks for signs that an orphaned table belongs to the store that has just been opened: counters in the table that are
// ahead of the store's, an epoch that the store lacks, or rows that do not add up. If there is such a sign, the error wraps ErrDamaged.
// Otherwise, checkOrphans deletes the links.
func (s *Store) checkOrphans() error {
	dir := orphansDir(s.o)
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, name := range names {
		if err := s.checkOrphan(name); err != nil {
			return err
		}
	}
	totals, sum, err := s.Account(context.Background())
	if err != nil {
		return err
	}
	if totals.Applied != sum {
		return fmt.Errorf("%w: %d tables are not in the MANIFEST, and without them the rows add up to only %d of %d",
			ErrDamaged, len(names), sum, totals.Applied)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (s *Store) checkOrphan(name string) error {
	c, epoch, err := s.readOrphan(name)
	if err != nil { // probably, the table was still being written when the process ended; if it is damaged instead, the rows do not add up
		s.o.Logger.Debug("store: cannot read an orphaned table; ignoring it", "file", name, "error", err)
		return nil
	}
	table := filepath.Base(name)
	if have := s.counters; c.lastBatch > have.lastBatch || c.nextPlan > have.nextPlan || c.ledgers > have.ledgers {
		return fmt.Errorf("%w: table %s is not in the MANIFEST and holds batch %d, but the store ends at %d", ErrDamaged, table, c.lastBatch, have.lastBatch)
	}
	if epoch != uuid.Nil {
		return fmt.Errorf("%w: table %s is not in the MANIFEST and holds epoch %s, which the store lacks", ErrDamaged, table, epoch)
	}
	return nil
}

// readOrphan returns the newest counters in a table, which are zero if the table has none, and an epoch that the store does not have at
// all. A store deletes a watermark or a ledger only when it adds the epoch to the sum of the oldest ones.
func (s *Store) readOrphan(name string) (c counters, missing uuid.UUID, err error) {
	_, summed := s.ledgers[uuid.Nil]
	err = badgerfiles.ReadTable(name, func(walk func(byte, func(key, value []byte) bool)) {
		walk(prefixCounters, func(_, value []byte) bool { // newest version first
			var err error
			c, err = decodeCounters(value)
			return err != nil
		})
		lookFor := func(prefix byte, known func(uuid.UUID) bool) {
			walk(prefix, func(key, _ []byte) bool {
				if epoch, err := uuid.FromBytes(key[1:]); err == nil && !known(epoch) {
					missing = epoch
				}
				return missing == uuid.Nil
			})
		}
		if !summed {
			lookFor(prefixWatermark, func(epoch uuid.UUID) bool { _, ok := s.watermarks[epoch]; return ok })
			lookFor(prefixLedger, func(epoch uuid.UUID) bool { _, ok := s.ledgers[epoch]; return ok })
		}
	})
	return c, missing, err
}

package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// importPlansMax is the maximum number of plans in one transaction of ImportEpoch.
const importPlansMax = 256

// ImportedEpoch describes the part of one epoch that an archive has.
type ImportedEpoch struct {
	Epoch     uuid.UUID
	LastSeq   uint64                // the largest sequence number in the archive; events up to it are skipped if a spool still has them
	Responses uint64                // number of responses in the imported rows
	Dropped   map[string]uint64     // responses that were not recorded, by reason
	Drops     map[int64]stats.Drops // the drop records that report them, by hour
	// Plans are catalogue entries of objects in the archive whose events are not in this store. Their Blocks are
	// ignored.
	Plans []catalogue.Plan
}

// ImportRows adds rows of statistics to a store that has never applied a batch. If a key is given more than once, its
// rows are added up. An import is not atomic: a store whose import was interrupted must be discarded.
func (s *Store) ImportRows(ctx context.Context, keys []stats.Key, rows []*stats.Row) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if s.current().lastBatch > 0 || len(keys) != len(rows) {
		return fmt.Errorf("import rows: %w: the store has rows of its own, or %d keys for %d rows", ErrInvalid, len(keys), len(rows))
	}
	if err := s.importRows(ctx, keys, rows); err != nil {
		return fmt.Errorf("import rows: %w", err)
	}
	return nil
}

// ImportEpoch adds an epoch whose rows have been imported: it counts the epoch's responses as applied, archived and deleted, and adds its
// objects to the catalogue. The epoch must be new to the store.
func (s *Store) ImportEpoch(ctx context.Context, e ImportedEpoch) error {
	if err := s.importEpoch(ctx, e); err != nil {
		return fmt.Errorf("import epoch %s: %w", e.Epoch, err)
	}
	ledger := Ledger{Epoch: e.Epoch, Responses: e.Responses, Recorded: e.Responses, Dropped: e.Dropped}
	for _, n := range e.Dropped {
		ledger.Responses += n
	}
	return s.SetLedger(ledger)
}

func (s *Store) importEpoch(ctx context.Context, e ImportedEpoch) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if _, known := s.watermark(e.Epoch); known {
		return fmt.Errorf("%w: the epoch is already known", ErrInvalid)
	}
	drops := dropFigures{}
	for hour, figures := range e.Drops {
		drops[dropsKey{hour, e.Epoch}] = figures
	}
	if err := s.HourlyDrops.set(ctx, drops); err != nil {
		return err
	}
	next := s.current()
	first := next.nextPlan + 1
	err := s.updateInChunks(ctx, len(e.Plans), importPlansMax, func(txn *badger.Txn, from, to int) error {
		for i := from; i < to; i++ {
			p := withoutRuns(e.Plans[i])
			p.ID, p.State, p.Blocks = first+uint64(i), catalogue.Deleted, nil
			if err := s.setPlan(txn, &p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	next.nextPlan += uint64(len(e.Plans))
	next.totals.Applied += e.Responses
	next.totals.Archived += e.Responses
	next.totals.Deleted += e.Responses
	return s.writeEpoch(e.Epoch, watermark{seq: e.LastSeq, applied: e.Responses, from: 1}, next, false)
}

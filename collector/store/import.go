package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// importPlansMax is the number of plans in one transaction of ImportEpoch.
const importPlansMax = 256

// ImportedEpoch is what an archive says of one epoch.
type ImportedEpoch struct {
	Epoch     uuid.UUID
	LastSeq   uint64                // the largest sequence number in the archive: a spool that still holds older ones must not count them again
	Responses uint64                // in the imported rows
	Dropped   map[string]uint64     // responses that were not recorded, by reason
	Told      map[int64]stats.Drops // by hour, the drop records that say so
	// Plans are catalogue entries of objects that stand in the archive and whose events are not here. Blocks are ignored.
	Plans []catalogue.Plan
}

// ImportRows adds rows of statistics to those of a store that has never applied a batch: a key that was given before is added up.
// An import is not atomic: a store whose import was broken off is to be thrown away.
func (s *Store) ImportRows(ctx context.Context, keys []stats.Key, rows []*stats.Row) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.mu.Lock()
	used := s.state.lastBatch > 0
	s.mu.Unlock()
	if used || len(keys) != len(rows) {
		return fmt.Errorf("import rows: %w: the store has rows of its own, or %d keys for %d rows", ErrInvalid, len(keys), len(rows))
	}
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	for most := chunkRowsMax; len(keys) > 0; {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		n, err := fitting(min(most, len(keys)), func(n int) error { return s.importRows(keys[:n], rows[:n]) })
		if err != nil {
			return fmt.Errorf("import rows: %w", err)
		}
		keys, rows = keys[n:], rows[n:]
		most = min(chunkRowsMax, 2*n)
	}
	return nil
}

// importRows writes rows in one transaction. The caller holds rowsMu.
func (s *Store) importRows(keys []stats.Key, rows []*stats.Row) error {
	hours, names := map[int64]bool{}, map[string]nameSpan{}
	s.mu.Lock()
	for i := range keys {
		name := string(rowName(appendRowKey(nil, &keys[i])))
		s.noteName(name, keys[i].Hour)
		names[name], hours[keys[i].Hour], s.stale[keys[i].Hour] = s.names[name], true, true
	}
	s.mu.Unlock()
	err := s.update(func(txn *badger.Txn) error {
		for i := range keys {
			key, sum := appendRowKey(nil, &keys[i]), new(stats.Row)
			if err := mergeStored(txn, key, sum, nil); err != nil {
				return err
			}
			sum.Merge(rows[i])
			if err := set(txn, key, appendRow(nil, 0, sum)); err != nil {
				return err
			}
		}
		if err := dropMarks(txn, hours); err != nil {
			return err
		}
		return s.writeNames(txn, names)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rowsWritten(hours, names, err == nil)
	return err
}

// ImportEpoch counts an epoch whose rows were imported as applied, archived and deleted here, and enters its objects into
// the catalogue. The epoch must be new to the store.
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
		return fmt.Errorf("%w: it is known already", ErrInvalid)
	}
	drops := toldDrops{}
	for hour, told := range e.Told {
		drops[dropsKey{hour, e.Epoch}] = told
	}
	if err := s.setDrops(ctx, drops); err != nil {
		return err
	}
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	first := next.nextPlan + 1
	err := s.inParts(ctx, len(e.Plans), importPlansMax, func(txn *badger.Txn, from, to int) error {
		for i := from; i < to; i++ {
			p := e.Plans[i]
			p = withoutRuns(p)
			p.ID, p.State, p.Blocks = first+uint64(i), catalogue.Deleted, nil //nolint:gosec // not negative
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
	mark := watermark{seq: e.LastSeq, applied: e.Responses, from: 1}
	err = s.update(func(txn *badger.Txn) error {
		if err := set(txn, epochKey(prefixWatermark, e.Epoch), mark.encode()); err != nil {
			return err
		}
		return set(txn, []byte{prefixState}, next.encode())
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.watermarks[e.Epoch] = next, mark
	return nil
}

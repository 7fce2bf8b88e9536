package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// importPlansMax is the number of plans in one transaction of ImportEpoch.
const importPlansMax = 256

// ImportedEpoch is what an archive says of one epoch.
type ImportedEpoch struct {
	Epoch     uuid.UUID
	LastSeq   uint64               // the largest sequence number in the archive: a spool that still holds older ones must not count them again
	Responses uint64               // in the imported rows
	Dropped   map[string]uint64    // responses that were not recorded, by reason
	Told      map[int64]stats.Told // by hour, the drop records that say so
	// Plans are catalogue entries of objects that stand in the archive and whose events are not here. Blocks are ignored.
	Plans []catalogue.Plan
}

// ImportRows writes rows of statistics into a store that has never applied a batch. Each key may be given once. An import
// is not atomic: a store whose import was broken off is to be thrown away.
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
	sizeMax := int(s.db.MaxBatchSize() / 2)
	for at := 0; at < len(keys); {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		hours, names := map[int64]bool{}, map[string]nameSpan{}
		err := s.update(func(txn *badger.Txn) error {
			for size := 0; at < len(keys) && size < sizeMax; at++ {
				hours[keys[at].Hour] = true
				name := string(rowName(appendRowKey(nil, &keys[at])))
				s.mu.Lock()
				s.noteName(name, keys[at].Hour)
				names[name] = s.names[name]
				s.mu.Unlock()
				value := appendRow(nil, 0, rows[at])
				size += len(value)
				if err := set(txn, appendRowKey(nil, &keys[at]), value); err != nil {
					return err
				}
				s.stale[keys[at].Hour] = true
			}
			if err := dropMarks(txn, hours); err != nil {
				return err
			}
			return s.writeNames(txn, names)
		})
		s.mu.Lock()
		s.rowsWritten(hours, names, err == nil)
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("import rows: %w", err)
		}
	}
	return nil
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
	if err := s.setDrops(drops); err != nil {
		return err
	}
	s.mu.Lock()
	next := s.state
	s.mu.Unlock()
	for plans := e.Plans; ; plans = plans[importPlansMax:] {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		last := len(plans) <= importPlansMax
		if last {
			next.totals.Applied += e.Responses
			next.totals.Archived += e.Responses
			next.totals.Deleted += e.Responses
		}
		err := s.update(func(txn *badger.Txn) error {
			for _, p := range plans[:min(importPlansMax, len(plans))] {
				next.nextPlan++
				p.ID, p.State, p.Blocks = next.nextPlan, catalogue.Deleted, nil
				if err := s.setPlan(txn, &p); err != nil {
					return err
				}
			}
			if last {
				mark := watermark{seq: e.LastSeq, applied: e.Responses}
				if err := set(txn, epochKey(prefixWatermark, e.Epoch), mark.encode()); err != nil {
					return err
				}
			}
			return set(txn, []byte{prefixState}, next.encode())
		})
		if err != nil {
			return err
		}
		s.setState(next)
		if last {
			s.mu.Lock()
			s.watermarks[e.Epoch] = watermark{seq: e.LastSeq, applied: e.Responses}
			s.mu.Unlock()
			return nil
		}
	}
}

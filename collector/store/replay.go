package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// load reads everything that is kept in memory, and replays the batches since the checkpoint. The error wraps
// ErrDamaged, ErrSchema or ErrUnavailable.
func (s *Store) load(found findings) error {
	version, err := s.checkSchema()
	if err != nil {
		return err
	}
	if version == 0 {
		return s.begin(found.replaced)
	}
	if version < SchemaVersion {
		if err := s.migrate(version); err != nil {
			return err
		}
	}
	complete := false
	err = s.view(func(txn *badger.Txn) error {
		if err := errors.Join(s.Accounts.load(txn), s.MarkLog.load(txn), s.Runs.load(txn), s.LogImports.load(txn)); err != nil {
			return err
		}
		complete, err = s.Statistics.load(txn)
		return err
	})
	if err != nil {
		return err
	}
	if found.cut {
		if err := s.markAllUnreconciled(); err != nil {
			return err
		}
	}
	if !complete {
		if err := s.names.build(s.database); err != nil {
			return err
		}
	}
	if !s.minutes.begun {
		if err := s.beginMinutes(stats.MinuteOf(s.o.Now()) + 1); err != nil {
			return err
		}
	}
	return s.replay()
}

// begin writes the first keys of a new store. If the store replaces a lost one, all epochs become unreconciled and a
// refill becomes due.
func (s *Store) begin(replaced bool) error {
	s.began, s.allUnreconciled, s.refillDue = s.o.Now().UnixMicro(), replaced, replaced
	s.minutes.from = oldestMinute(stats.HourOf(s.o.Now()))
	return s.update(func(txn *badger.Txn) error {
		if err := set(txn, []byte{prefixName}, []byte{1}); err != nil {
			return err
		}
		if replaced {
			if err := errors.Join(set(txn, []byte{prefixUnreconciled}, nil), set(txn, []byte{prefixRefill}, nil)); err != nil {
				return err
			}
		}
		return errors.Join(setMinutesFrom(txn, s.minutes.from), writeSchema(txn, s.began))
	})
}

// migrate upgrades a store of an older schema. Additions that are not handled here use their own keys, which are created when they are
// needed.
func (s *Store) migrate(version uint32) error {
	if version < 3 {
		if err := s.HourlyDrops.index(); err != nil {
			return err
		}
	}
	for _, prefix := range [...]byte{prefixPack, prefixPackRow} { // marks first, because a copy without a mark is not used
		if err := s.deleteSpans(context.Background(), prefix, math.MinInt64, math.MaxInt64); err != nil {
			return err
		}
	}
	return s.update(func(txn *badger.Txn) error { return writeSchema(txn, s.began) })
}

// checkSchema returns the version of the database, which is 0 if the database is new, and reads the time at which the books were started.
func (s *Store) checkSchema() (version uint32, err error) {
	err = s.view(func(txn *badger.Txn) error {
		found, err := get(txn, []byte{prefixSchema}, func(v []byte) error {
			if len(v) != 12 {
				return fmt.Errorf("%w: schema key of %d bytes", ErrDamaged, len(v))
			}
			if version = binary.LittleEndian.Uint32(v); version > SchemaVersion {
				return fmt.Errorf("%w: schema %d, but this version supports only up to %d", ErrSchema, version, SchemaVersion)
			}
			version = max(version, 1)
			s.began = int64(binary.LittleEndian.Uint64(v[4:]))
			return nil
		})
		if err != nil || found {
			return err
		}
		return each(context.Background(), txn, nil, nil, func(_, _ []byte) error { // a database with any key is not new
			version = SchemaVersion
			return errStop
		})
	})
	return version, err
}

// writeSchema writes the version of the database, and the time at which the books were started.
func writeSchema(txn *badger.Txn, began int64) error {
	v := binary.LittleEndian.AppendUint32(nil, SchemaVersion)
	v = binary.LittleEndian.AppendUint64(v, uint64(began))
	return set(txn, []byte{prefixSchema}, v)
}

// replay folds the batches since the checkpoint into the rows that do not include them.
func (s *Store) replay() error {
	decoder := block.NewDecoder()
	defer decoder.Close()
	last, first := s.counters.lastBatch, s.checkpointed+1
	s.lastBatch = last
	for batch := first; batch <= last; batch++ {
		// Until the next batch is replayed, the rows are those of a store whose last batch is this one. Too many rows in memory can force
		// a checkpoint before that; it must store the rows with this number.
		s.lastBatch = batch
		err := s.replayBatch(decoder, batch)
		if errors.Is(err, ErrDamaged) {
			s.o.Logger.Error("store: the replay skipped a damaged block; its events are missing from the rows", "batch", batch, "error", err)
			err = nil
		}
		if err == nil && s.crowded() {
			err = s.makeRoom()
		}
		if err != nil {
			return fmt.Errorf("replay batch %d: %w", batch, err)
		}
	}
	if last >= first {
		s.o.Logger.Info("store: replayed the batches since the last checkpoint", "batches", last-first+1)
	}
	return nil
}

func (s *Store) replayBatch(decoder *block.Decoder, batch uint64) error {
	return s.view(func(txn *badger.Txn) error {
		var ids []catalogue.BlockID
		found, err := get(txn, numberKey(prefixBatch, batch), func(v []byte) (err error) {
			ids, err = parseBatchRecord(batch, v)
			return err
		})
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: record of batch %d is missing", ErrDamaged, batch)
		}
		var damage error
		for _, id := range ids {
			err := s.replayBlock(txn, decoder, id)
			if errors.Is(err, ErrDamaged) {
				damage = errors.Join(damage, err)
				continue
			}
			if err != nil {
				return err
			}
		}
		return damage
	})
}

func (s *Store) replayBlock(txn *badger.Txn, decoder *block.Decoder, id catalogue.BlockID) error {
	found, err := get(txn, blockKey(prefixBlock, id), func(v []byte) error { return decoder.Open(id, v) })
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: block %s is missing", ErrDamaged, block.Name(id))
	}
	rows := make([]*liveRow, len(decoder.Keys()))
	s.Statistics.mu.Lock()
	defer s.Statistics.mu.Unlock()
	return decoder.Each(func(_ uint64, key uint32, e *event.Event) error {
		if !e.IsResponse() {
			return nil
		}
		if rows[key] == nil {
			k := decoder.Keys()[key]
			row, err := s.liveRow(txn, stats.Key{Hour: id.Hour, Host: k.Host, Method: k.Method, Label: k.Label, Route: k.Route}.Clone())
			if err != nil {
				return err
			}
			rows[key] = row
		}
		row := rows[key]
		if row.includes >= id.Batch {
			return nil
		}
		row.row.Add(e)
		s.minutes.add(row, e)
		row.dirty, row.touched = true, s.generation
		return nil
	})
}

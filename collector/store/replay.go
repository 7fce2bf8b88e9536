package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// load reads what is kept in memory and replays the batches beyond the checkpoint. The error wraps ErrDamaged, ErrSchema
// or ErrUnavailable.
func (s *Store) load() error {
	version, err := s.checkSchema()
	if err != nil {
		return err
	}
	if version == 0 {
		s.began = s.o.Now().UnixMicro()
		return s.update(func(txn *badger.Txn) error {
			if err := set(txn, []byte{prefixName}, []byte{1}); err != nil {
				return err
			}
			s.doubtAll, s.refillDue = s.o.anew, s.o.anew
			if s.o.anew {
				if err := errors.Join(set(txn, []byte{prefixDoubt}, nil), set(txn, []byte{prefixRefill}, nil)); err != nil {
					return err
				}
			}
			return s.writeSchema(txn, s.began)
		})
	}
	if version < SchemaVersion { // what else was added stands under keys of its own, and is made as it is needed
		if version < 3 {
			if err := s.indexDrops(); err != nil {
				return err
			}
		}
		for _, prefix := range [...]byte{prefixPack, prefixPackRow} { // marks first: without one, a copy has no meaning
			if err := s.dropSpans(context.Background(), prefix, math.MinInt64, math.MaxInt64); err != nil {
				return err
			}
		}
		if err := s.update(func(txn *badger.Txn) error { return s.writeSchema(txn, s.began) }); err != nil {
			return err
		}
	}
	if err := s.view(s.loadState); err != nil {
		return err
	}
	if s.o.cut {
		if err := s.doubtEverything(); err != nil {
			return err
		}
	}
	if !s.namesComplete {
		if err := s.indexNames(); err != nil {
			return err
		}
	}
	return s.replay()
}

// checkSchema returns the version of the database, 0 for a new one.
func (s *Store) checkSchema() (version uint32, err error) {
	found := false
	err = s.view(func(txn *badger.Txn) error {
		var err error
		found, err = get(txn, []byte{prefixSchema}, func(v []byte) error {
			if len(v) != 12 {
				return fmt.Errorf("%w: schema key of %d bytes", ErrDamaged, len(v))
			}
			if version = binary.LittleEndian.Uint32(v); version > SchemaVersion {
				return fmt.Errorf("%w: schema %d, known up to %d", ErrSchema, version, SchemaVersion)
			}
			version = max(version, 1)
			s.began = int64(binary.LittleEndian.Uint64(v[4:])) //nolint:gosec // undoes writeSchema
			return nil
		})
		if err != nil || found {
			return err
		}
		return eachKey(txn, nil, func([]byte) bool { version = SchemaVersion; return false })
	})
	return version, err
}

// writeSchema writes the version of the database, and when the books began.
func (s *Store) writeSchema(txn *badger.Txn, began int64) error {
	v := binary.LittleEndian.AppendUint32(nil, SchemaVersion)
	v = binary.LittleEndian.AppendUint64(v, uint64(began)) //nolint:gosec // undone by checkSchema
	return set(txn, []byte{prefixSchema}, v)
}

// Began is the moment from which on responses are in the rows: when the store was made, or the time of the oldest event. Rows of
// earlier hours, which an import may have brought, count from the beginning of the oldest one. It is zero while that is not known.
func (s *Store) Began() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, _, found := s.hoursHeld()
	if found && (s.began == 0 || first < stats.HourOfMicros(s.began)) {
		return time.Unix(first*3600, 0).UTC()
	}
	if s.began == 0 {
		return time.Time{}
	}
	return time.UnixMicro(s.began).UTC()
}

func (s *Store) loadState(txn *badger.Txn) error {
	_, err := get(txn, []byte{prefixState}, func(v []byte) (err error) {
		s.state, err = decodeState(v)
		return err
	})
	if err != nil {
		return err
	}
	_, err = get(txn, []byte{prefixCheckpoint}, func(v []byte) error {
		if len(v) != 8 {
			return fmt.Errorf("%w: checkpoint of %d bytes", ErrDamaged, len(v))
		}
		s.checkpointed = binary.LittleEndian.Uint64(v)
		return nil
	})
	if err != nil {
		return err
	}
	err = each(txn, []byte{prefixWatermark}, nil, func(key, value []byte) error {
		epoch, err := uuid.FromBytes(key[1:])
		if err != nil {
			return fmt.Errorf("%w: watermark key %x", ErrDamaged, key)
		}
		s.watermarks[epoch], err = decodeWatermark(value)
		return err
	})
	if err != nil {
		return err
	}
	if s.namesComplete, err = s.loadNames(txn); err != nil {
		return err
	}
	if err = s.loadDoubts(txn); err != nil {
		return err
	}
	if s.refillDue, err = get(txn, []byte{prefixRefill}, func([]byte) error { return nil }); err != nil {
		return err
	}
	return s.loadLedgers(txn)
}

// replay folds the batches beyond the checkpoint into the rows that do not include them.
func (s *Store) replay() error {
	decoder, err := newBlockDecoder()
	if err != nil {
		return err
	}
	defer decoder.close()
	last, first := s.state.lastBatch, s.checkpointed+1
	for batch := first; batch <= last; batch++ {
		// While a batch is replayed the rows are those of a store that has applied nothing after it, so that a
		// checkpoint in between (when memory runs short) gives the rows the right number.
		s.state.lastBatch = batch
		err := s.replayBatch(decoder, batch)
		if errors.Is(err, ErrDamaged) {
			// The events of a damaged block are lost to the rows; the accounting shows how many.
			s.o.Logger.Error("store: replay skipped a damaged block", "batch", batch, "error", err)
			err = nil
		}
		if err == nil && len(s.live) > s.o.LiveRowsMax {
			err = s.relieve()
		}
		if err != nil {
			s.state.lastBatch = last
			return fmt.Errorf("replay batch %d: %w", batch, err)
		}
	}
	s.state.lastBatch = last
	if last >= first {
		s.o.Logger.Info("store: replayed batches beyond the checkpoint", "batches", last-first+1)
	}
	return nil
}

func (s *Store) replayBatch(decoder *blockDecoder, batch uint64) error {
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

func (s *Store) replayBlock(txn *badger.Txn, decoder *blockDecoder, id catalogue.BlockID) error {
	found, err := get(txn, blockKey(prefixBlock, id), func(v []byte) error { return decoder.open(id, v) })
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: block %d/%d/%d is missing", ErrDamaged, id.Hour, id.Batch, id.Index)
	}
	rows := make([]*liveRow, len(decoder.columns.keys))
	s.mu.Lock()
	defer s.mu.Unlock()
	return decoder.each(id, func(_ uint64, key uint32, e *event.Event) error {
		if !e.IsResponse() {
			return nil
		}
		if rows[key] == nil {
			k := decoder.columns.keys[key]
			full := stats.Key{
				Hour: id.Hour, Host: strings.Clone(k.Host), Method: strings.Clone(k.Method), Label: strings.Clone(k.Label),
			}
			row, known := s.live[full]
			if !known {
				var err error
				if row, err = s.loadRow(txn, full); err != nil {
					return err
				}
			}
			rows[key] = row
		}
		row := rows[key]
		if row.includes >= id.Batch {
			return nil
		}
		row.row.Add(e)
		row.dirty, row.touched = true, s.generation
		return nil
	})
}

package store

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/crash"
)

const (
	// chunkRowsMax bounds the rows of one transaction of a checkpoint, and with it how long applying waits for it.
	chunkRowsMax = 512
	// idleGenerations is the number of checkpoints after which an unchanged row leaves memory.
	idleGenerations = 3
	// batchRecordsMax bounds the batch records that one checkpoint removes; the next one removes the rest.
	batchRecordsMax = 4096
)

// Checkpoint writes every row that has changed, each with the number of the last batch that it includes, and then, in a
// last transaction, the number of the batch up to which all rows are complete. A crash in between loses nothing: rows that
// were written know which batches to skip when the rest is replayed. It may run beside Apply.
func (s *Store) Checkpoint() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.checkpoint()
}

func (s *Store) checkpoint() error {
	s.checkpointMu.Lock()
	defer s.checkpointMu.Unlock()
	return s.checkpointLocked()
}

// checkpointLocked is checkpoint for a caller that holds checkpointMu.
func (s *Store) checkpointLocked() error {
	if err := s.Failed(); err != nil {
		return err
	}
	crash.Point("store.checkpoint.before")

	s.mu.Lock()
	upTo, before := s.state.lastBatch, s.checkpointed
	var dirty []*liveRow
	for _, row := range s.live {
		if row.dirty {
			dirty = append(dirty, row)
		}
	}
	s.mu.Unlock()

	if err := s.writeRows(dirty); err != nil {
		return fmt.Errorf("checkpoint at batch %d: %w", upTo, err)
	}
	if upTo > before {
		if err := s.writeCheckpoint(upTo); err != nil {
			return fmt.Errorf("checkpoint at batch %d: %w", upTo, err)
		}
	}
	s.mu.Lock()
	s.checkpointed = max(s.checkpointed, upTo)
	s.generation++
	s.evict(idleGenerations)
	s.mu.Unlock()
	crash.Point("store.checkpoint.after")
	return nil
}

// relieve makes room when too many rows are in memory: everything is written, and every row that is not in use leaves.
func (s *Store) relieve() error {
	if err := s.checkpoint(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(0)
	return nil
}

// evict drops persisted rows that have not changed for a number of checkpoints. The caller holds mu.
func (s *Store) evict(idle uint64) {
	if s.readers > 0 {
		return
	}
	for key, row := range s.live {
		if !row.dirty && row.pins == 0 && row.touched+idle <= s.generation {
			delete(s.live, key)
		}
	}
}

// writeRows writes rows in transactions that fit.
func (s *Store) writeRows(rows []*liveRow) error {
	var buffer []byte
	for most := chunkRowsMax; len(rows) > 0; {
		n, err := fitting(min(most, len(rows)), func(n int) error { return s.writeChunk(rows[:n], &buffer) })
		if err != nil {
			return err
		}
		rows = rows[n:]
		most = min(chunkRowsMax, 2*n)
		crash.Point("store.checkpoint.chunk")
	}
	return nil
}

// writeChunk writes rows in one transaction. They are encoded at one moment, under mu, with the number of the last batch applied
// by then.
func (s *Store) writeChunk(rows []*liveRow, buffer *[]byte) error {
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()

	type span struct{ key, value, end int }
	var spans []span
	hours, names := map[int64]bool{}, map[string]nameSpan{}
	buf := (*buffer)[:0]
	sizeMax := int(s.db.MaxBatchSize())
	s.mu.Lock()
	includes := s.state.lastBatch
	for _, row := range rows {
		if len(buf) > sizeMax {
			break
		}
		at := span{key: len(buf)}
		buf = appendRowKey(buf, &row.key)
		at.value = len(buf)
		buf = appendRow(buf, includes, &row.row)
		at.end = len(buf)
		spans = append(spans, at)
		row.writing, row.dirty = row.row.Count, false
		hours[row.key.Hour] = true
		name := string(rowName(buf[at.key:at.value]))
		if known := s.names[name]; !known.written {
			names[name] = known
		}
	}
	s.mu.Unlock()
	*buffer = buf

	err := s.update(func(txn *badger.Txn) error {
		if len(spans) < len(rows) {
			return ErrBatchTooLarge
		}
		for _, at := range spans {
			if err := set(txn, buf[at.key:at.value:at.value], buf[at.value:at.end:at.end]); err != nil {
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
	for _, row := range rows[:len(spans)] {
		if err != nil {
			row.dirty = true
			continue
		}
		row.persisted, row.includes = row.writing, includes
		s.stale[row.key.Hour] = true
	}
	return err
}

// rowsWritten notes what a transaction that wrote rows has changed besides them. The caller holds mu.
func (s *Store) rowsWritten(hours map[int64]bool, names map[string]nameSpan, done bool) {
	s.rowWrites++
	for hour := range hours {
		for _, t := range tiers {
			delete(s.summed[t.mark], t.span(hour))
		}
	}
	for name, wrote := range names {
		if now := s.names[name]; done && now == wrote {
			now.written = true
			s.names[name] = now
		}
	}
}

// writeCheckpoint moves the checkpoint and removes batch records that a replay no longer needs.
func (s *Store) writeCheckpoint(upTo uint64) error {
	var old [][]byte
	err := s.view(func(txn *badger.Txn) error {
		return eachKey(txn, []byte{prefixBatch}, func(key []byte) bool {
			if binary.BigEndian.Uint64(key[1:]) > upTo || len(old) == batchRecordsMax {
				return false
			}
			old = append(old, append([]byte(nil), key...))
			return true
		})
	})
	if err != nil {
		return err
	}
	return s.update(func(txn *badger.Txn) error {
		if err := set(txn, []byte{prefixCheckpoint}, binary.LittleEndian.AppendUint64(nil, upTo)); err != nil {
			return err
		}
		for _, key := range old {
			if err := txn.Delete(key); err != nil {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
		return nil
	})
}

// eachKey walks keys with a prefix until fn returns false. The key is valid during the call.
func eachKey(txn *badger.Txn, prefix []byte, fn func(key []byte) bool) error {
	return eachKeyFrom(txn, prefix, prefix, fn)
}

// eachKeyFrom is eachKey from a key on.
func eachKeyFrom(txn *badger.Txn, prefix, from []byte, fn func(key []byte) bool) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = prefix
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Seek(from); it.Valid() && fn(it.Item().Key()); it.Next() {
	}
	return nil
}

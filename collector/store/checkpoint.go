package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/crash"
)

const (
	// rowsChunk limits the number of rows in one transaction, and therefore the time that Apply must wait for the transaction.
	rowsChunk = 512
	// idleGenerations is the number of checkpoints after which an unchanged row is dropped from memory.
	idleGenerations = 2
	// batchRecordsMax limits the number of batch records that one checkpoint removes. The next checkpoint removes the rest.
	batchRecordsMax = 4096
)

// Checkpoint writes every row that has changed, together with the number of the last batch that the row includes. A final transaction
// writes the number of the batch up to which all rows are complete. A crash before that loses nothing: each row that was written says
// which batches a replay must skip for that row. Checkpoint may run concurrently with Apply.
func (s *Statistics) Checkpoint() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.checkpoint()
}

func (s *Statistics) checkpoint() error {
	s.checkpointMu.Lock()
	defer s.checkpointMu.Unlock()
	return s.checkpointLocked()
}

// checkpointLocked is like Checkpoint, for callers that hold checkpointMu.
func (s *Statistics) checkpointLocked() error {
	if err := s.Failed(); err != nil {
		return err
	}
	crash.Point("store.checkpoint.before")

	s.mu.Lock()
	upTo, previous := s.lastBatch, s.checkpointed
	s.made, s.folded, s.awaited = time.Now(), 0, false
	var dirty []*liveRow
	for _, row := range s.live {
		if row.dirty {
			dirty = append(dirty, row)
		}
	}
	s.mu.Unlock()

	err := s.writeRows(dirty)
	if err == nil && upTo > previous {
		err = s.writeCheckpoint(upTo)
	}
	if err != nil {
		return fmt.Errorf("checkpoint at batch %d: %w", upTo, err)
	}
	s.mu.Lock()
	s.checkpointed = max(s.checkpointed, upTo)
	s.generation++
	s.evict(idleGenerations)
	s.mu.Unlock()
	crash.Point("store.checkpoint.after")
	return nil
}

// checkpointDue reports whether Run must make a checkpoint.
func (s *Statistics) checkpointDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	const early = 10 // a ticker may fire early by a fraction of its interval
	return s.awaited || s.folded >= checkpointEvents || time.Since(s.made) >= s.o.CheckpointInterval-s.o.CheckpointInterval/early
}

// makeRoom writes all changed rows and drops every unused row from memory.
func (s *Statistics) makeRoom() error {
	if err := s.checkpoint(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(0)
	return nil
}

// evict drops rows from memory if they are stored and have not changed during the last idle checkpoints. The caller holds mu.
func (s *Statistics) evict(idle uint64) {
	if s.readers > 0 {
		return
	}
	for key, row := range s.live {
		if !row.dirty && row.pins == 0 && row.touched+idle <= s.generation {
			delete(s.live, key)
		}
	}
}

// chunkBuffer is memory for the values of a transaction. It is in use until the transaction has ended.
type chunkBuffer struct{ rows, minutes []byte }

// writeRows writes rows in several transactions.
func (s *Statistics) writeRows(rows []*liveRow) error {
	var buffer chunkBuffer
	return inChunks(context.Background(), len(rows), rowsChunk, func(from, to int) error {
		if err := s.writeChunk(rows[from:to], &buffer); err != nil {
			return err
		}
		crash.Point("store.checkpoint.chunk")
		return nil
	})
}

// writeChunk writes rows and their minutes in one transaction. While it holds mu, it encodes the rows with the number of the last batch
// that is folded into them, and takes their minutes, so the rows and their minutes include the same batches.
func (s *Statistics) writeChunk(rows []*liveRow, buffer *chunkBuffer) error {
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()

	type span struct { // position of a row in buf
		key, value, end int
		minutes         []minuteRow
	}
	var spans []span
	var change rowChange
	buf := buffer.rows[:0]
	sizeMax := int(s.db.MaxBatchSize())
	s.mu.Lock()
	includes := s.lastBatch
	for _, row := range rows {
		if len(buf) > sizeMax {
			break
		}
		at := span{key: len(buf)}
		buf = appendRowKey(buf, &row.key)
		at.value = len(buf)
		buf = appendRow(buf, includes, &row.row)
		at.end, at.minutes = len(buf), s.minutes.take(row)
		spans = append(spans, at)
		row.writing, row.dirty = row.row.Count, false
		s.noteChange(&change, row.key.Hour, string(rowName(buf[at.key:at.value])))
	}
	s.mu.Unlock()
	buffer.rows = buf

	err := s.update(func(txn *badger.Txn) error {
		if len(spans) < len(rows) {
			return ErrBatchTooLarge
		}
		minutes := minuteWriter{s: s, txn: txn, buf: buffer.minutes[:0]}
		for _, at := range spans {
			if err := set(txn, buf[at.key:at.value:at.value], buf[at.value:at.end:at.end]); err != nil {
				return err
			}
			if err := minutes.add(rowName(buf[at.key:at.value]), at.minutes); err != nil {
				return err
			}
		}
		buffer.minutes = minutes.buf
		return change.write(txn)
	})

	s.mu.Lock()
	defer s.mu.Unlock()
	s.rowsWritten(&change, err == nil)
	for _, row := range rows[:len(spans)] {
		s.minutes.written(row, err == nil)
		if err != nil {
			row.dirty = true
			continue
		}
		row.persisted, row.includes = row.writing, includes
	}
	return err
}

// writeCheckpoint moves the checkpoint forward and removes batch records that no replay will need again.
func (s *Statistics) writeCheckpoint(upTo uint64) error {
	var old [][]byte
	err := s.view(func(txn *badger.Txn) error {
		return each(context.Background(), txn, []byte{prefixBatch}, nil, func(key, _ []byte) error {
			if binary.BigEndian.Uint64(key[1:]) > upTo || len(old) == batchRecordsMax {
				return errStop
			}
			old = append(old, append([]byte(nil), key...))
			return nil
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
			if err := deleteKey(txn, key); err != nil {
				return err
			}
		}
		return nil
	})
}

package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/crc32c"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Statistics are the hourly rows. A batch is folded into rows in memory. A checkpoint writes the changed rows, each with the number of
// the last batch that it includes. After a crash, the batches since the checkpoint are therefore folded again, each into exactly those
// rows that do not include it.
type Statistics struct {
	*database
	rollups *Rollups

	checkpointMu sync.Mutex // held during a checkpoint

	// rowsMu is held while stored rows are written or summed. This keeps the stored rows and liveRow.persisted consistent.
	rowsMu   sync.Mutex
	hourSums map[int64]uint64 // counts of the stored rows by hour; nil before the first sum; guarded by rowsMu
	stale    map[int64]bool   // hours whose rows have changed since they were summed; guarded by rowsMu

	mu           sync.Mutex // guards the fields below, and every liveRow
	lastBatch    uint64     // the last batch that was folded into the rows
	checkpointed uint64     // every stored row includes the batches up to this one
	made         time.Time  // when the last checkpoint was started
	folded       int        // number of events folded since made
	awaited      bool       // whether a deletion is waiting for the next checkpoint
	live         map[stats.Key]*liveRow
	minutes      minutes
	rowWrites    uint64 // number of transactions that have written rows
	readers      int    // number of readers of rows; while there are any, no live row is evicted
	generation   uint64 // number of checkpoints

	names         nameIndex // has its own lock, which may be taken while mu is held
	minutesPruned bool      // whether all minutes before minutes.from have been deleted; guarded by Rollups.runMu
}

func newStatistics(d *database) *Statistics {
	s := &Statistics{database: d, made: time.Now(), stale: map[int64]bool{}, live: map[stats.Key]*liveRow{}}
	s.names.spans, s.minutes.incomplete = map[string]nameSpan{}, map[int64]bool{}
	s.rollups = &Rollups{database: d, rows: s, summed: map[byte]map[int64]bool{}, keptFrom: map[byte]int64{}}
	return s
}

// load reads the checkpoint and the index of names when the store is opened. It reports whether the index is complete.
func (s *Statistics) load(txn *badger.Txn) (complete bool, err error) {
	_, err = get(txn, []byte{prefixCheckpoint}, func(v []byte) error {
		if len(v) != 8 {
			return fmt.Errorf("%w: checkpoint of %d bytes", ErrDamaged, len(v))
		}
		s.checkpointed = binary.LittleEndian.Uint64(v)
		return nil
	})
	if err != nil {
		return false, err
	}
	if err := s.minutes.load(txn); err != nil {
		return false, err
	}
	return s.names.load(txn)
}

// liveRow is a row in memory. It holds the full row rather than a difference: the stored row, if there is one, is an older state of the
// same row. It is guarded by Statistics.mu.
type liveRow struct {
	key stats.Key
	row stats.Row
	// includes is the last batch that the stored row included when it was loaded or last written. During a replay, the row already
	// includes the batches up to this one.
	includes  uint64
	persisted uint64 // Count of the stored row
	writing   uint64 // Count of the row that is being written
	dirty     bool   // whether the row has changed since the last checkpoint that wrote it
	pins      int    // number of callers that will change the row; a pinned row is not evicted
	touched   uint64 // generation in which the row was last changed

	minutes        []minuteRow // minutes that have not been stored; if the row is not dirty, there are none
	writingMinutes []minuteRow // minutes that are being stored
}

// pin loads the row of each counted key into memory and keeps it there until unpin.
func (s *Statistics) pin(keys []batchKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var txn *badger.Txn
	defer func() {
		if txn != nil {
			txn.Discard()
		}
	}()
	for i := range keys {
		if !keys[i].counted {
			continue
		}
		if txn == nil && s.live[keys[i].key] == nil {
			// A row is evicted only after it has been written, and only while mu is held. So a transaction that begins while mu is held
			// sees every row that is not live.
			txn = s.db.NewTransaction(false)
		}
		row, err := s.liveRow(txn, keys[i].key)
		if err != nil {
			unpin(keys[:i])
			return err
		}
		row.pins++
		keys[i].row = row
	}
	return nil
}

func (s *Statistics) unpin(keys []batchKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unpin(keys)
}

func unpin(keys []batchKey) {
	for i := range keys {
		if keys[i].row != nil {
			keys[i].row.pins--
			keys[i].row = nil
		}
	}
}

// liveRow returns a row in memory. It loads the stored row, or creates an empty one. The caller holds mu.
func (s *Statistics) liveRow(txn *badger.Txn, key stats.Key) (*liveRow, error) {
	if row, ok := s.live[key]; ok {
		return row, nil
	}
	row := &liveRow{key: key, touched: s.generation}
	dbKey := appendRowKey(nil, &key)
	_, err := get(txn, dbKey, func(value []byte) error {
		includes, err := decodeRow(value, &row.row)
		if errors.Is(err, ErrSchema) {
			return err
		}
		if err != nil {
			row.row = stats.Row{}
			return s.setRowAside(dbKey, value, err)
		}
		row.includes, row.persisted = includes, row.row.Count
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.live[key] = row
	s.names.note(string(rowName(dbKey)), key.Hour)
	return row, nil
}

// setRowAside saves the bytes of a damaged row in the quarantine. The row can then start empty. The accounting shows how many responses
// are missing.
func (s *Statistics) setRowAside(key, value []byte, cause error) error {
	name := fmt.Sprintf("row-%08x.bin", crc32c.Sum(key))
	body := append(append(slices.Clone(key), '\n'), value...)
	if err := writeQuarantineFile(s.o.QuarantineDir, name, body); err != nil {
		return err
	}
	s.o.Logger.Error("store: a statistics row is damaged; it was set aside, and counting starts again from zero", "file", name, "error", cause)
	return nil
}

// crowded reports whether there are more rows, or more minutes, in memory than LiveRowsMax.
func (s *Statistics) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(len(s.live), s.minutes.open) > s.o.LiveRowsMax
}

// rowChange holds everything that a transaction changes in addition to the rows that it writes.
type rowChange struct {
	hours      map[int64]bool      // hours whose sums become invalid
	names      map[string]nameSpan // new spans for the index of names
	incomplete map[int64]bool      // hours whose minutes become incomplete
}

// noteChange prepares a transaction that writes a row. The caller holds mu.
func (s *Statistics) noteChange(c *rowChange, hour int64, name string) {
	if c.hours == nil {
		c.hours, c.names = map[int64]bool{}, map[string]nameSpan{}
	}
	c.hours[hour] = true
	if span := s.names.note(name, hour); !span.written {
		c.names[name] = span
	}
}

// changeOf prepares a transaction that adds to the rows with some keys, and to their minutes; minutes is nil if there
// are none.
func (s *Statistics) changeOf(keys []stats.Key, minutes [][]minuteRow) (c rowChange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.incomplete = s.minutes.lacking(keys, minutes)
	for i := range keys {
		s.noteChange(&c, keys[i].Hour, string(rowName(appendRowKey(nil, &keys[i]))))
	}
	return c
}

// write adds the change to the transaction.
func (c *rowChange) write(txn *badger.Txn) error {
	if err := dropMarks(txn, c.hours); err != nil {
		return err
	}
	for hour := range c.incomplete {
		if err := set(txn, incompleteKey(hour), nil); err != nil {
			return err
		}
	}
	return writeNames(txn, c.names)
}

// rowsWritten updates the state in memory after the transaction. The caller holds rowsMu and mu.
func (s *Statistics) rowsWritten(c *rowChange, done bool) {
	s.rowWrites++
	s.rollups.forgetMarks(c.hours)
	if !done {
		return
	}
	for hour := range c.hours {
		s.stale[hour] = true
	}
	for hour := range c.incomplete {
		s.minutes.incomplete[hour] = true
	}
	s.names.wrote(c.names)
}

// addToStored adds rows and their minutes to the stored ones. The new row includes the same batches as the stored one; a replay adds
// later batches.
func (s *Statistics) addToStored(txn *badger.Txn, keys []stats.Key, rows []*stats.Row, minutes [][]minuteRow) error {
	w := minuteWriter{s: s, txn: txn}
	for i := range keys {
		key, sum := appendRowKey(nil, &keys[i]), new(stats.Row)
		includes, err := readRow(txn, key, sum)
		if err != nil {
			return fmt.Errorf("row %+v: %w", keys[i], err)
		}
		sum.Merge(rows[i])
		if err := set(txn, key, appendRow(nil, includes, sum)); err != nil {
			return err
		}
		if minutes == nil {
			continue
		}
		if err := w.add(rowName(key), minutes[i]); err != nil {
			return err
		}
	}
	return nil
}

// importRows adds rows to the stored ones, in several transactions. There are no live rows.
func (s *Statistics) importRows(ctx context.Context, keys []stats.Key, rows []*stats.Row) error {
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	return inChunks(ctx, len(keys), rowsChunk, func(from, to int) error {
		c := s.changeOf(keys[from:to], nil)
		err := s.update(func(txn *badger.Txn) error {
			if err := s.addToStored(txn, keys[from:to], rows[from:to], nil); err != nil {
				return err
			}
			return c.write(txn)
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		s.rowsWritten(&c, err == nil)
		return err
	})
}

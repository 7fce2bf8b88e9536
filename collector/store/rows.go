package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// liveRow is a row in memory. It holds the full row, not a difference: what is persisted is an older state of it, or
// nothing. Guarded by Store.mu.
type liveRow struct {
	key stats.Key
	row stats.Row
	// includes is the last batch that the persisted row included when it was loaded or last written: during a replay,
	// batches up to it are already in the row.
	includes  uint64
	persisted uint64 // Count of the persisted row
	writing   uint64 // Count of the row as it is being written
	dirty     bool   // changed since it was last given to a checkpoint
	pins      int    // users that will change it; a pinned row is not evicted
	touched   uint64 // checkpoint generation in which it last changed
}

const rowHeadBytes = 4 + 8

// appendRow writes CRC32C of the rest (4), last batch included (8), row.
func appendRow(dst []byte, includes uint64, row *stats.Row) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, includes)
	dst, _ = row.AppendBinary(dst) // its error is always nil
	binary.LittleEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli))
	return dst
}

// rowBody checks a persisted row and returns the last batch that it includes and the encoded statistics.
func rowBody(value []byte) (includes uint64, body []byte, err error) {
	if len(value) < rowHeadBytes || crc32.Checksum(value[4:], castagnoli) != binary.LittleEndian.Uint32(value) {
		return 0, nil, fmt.Errorf("%w: row of %d bytes", ErrDamaged, len(value))
	}
	return binary.LittleEndian.Uint64(value[4:]), value[rowHeadBytes:], nil
}

// pinRows puts the row of each counted key into memory and keeps it there until unpinRows.
func (s *Store) pinRows(keys []batchKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var view *badger.Txn
	defer func() {
		if view != nil {
			view.Discard()
		}
	}()
	for i := range keys {
		if !keys[i].counted {
			continue
		}
		row, ok := s.live[keys[i].key]
		if !ok {
			if view == nil {
				// Begun under mu: a row leaves memory only under mu and after it was written, so this view has it.
				view = s.db.NewTransaction(false)
			}
			var err error
			if row, err = s.loadRow(view, keys[i].key); err != nil {
				unpin(keys[:i])
				return err
			}
		}
		row.pins++
		keys[i].row = row
	}
	return nil
}

func (s *Store) unpinRows(keys []batchKey) {
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

// loadRow brings a persisted row into memory, or begins a new one. The caller holds mu.
func (s *Store) loadRow(txn *badger.Txn, key stats.Key) (*liveRow, error) {
	row := &liveRow{key: key, touched: s.generation}
	dbKey := appendRowKey(nil, &key)
	_, err := get(txn, dbKey, func(value []byte) error {
		includes, body, err := rowBody(value)
		if err == nil {
			err = row.row.Decode(body)
		}
		if err != nil {
			return s.setRowAside(dbKey, value, err)
		}
		row.includes, row.persisted = includes, row.row.Count
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.live[key] = row
	s.noteName(string(rowName(dbKey)), key.Hour)
	return row, nil
}

// setRowAside keeps the bytes of a row that cannot be read, so that the row can begin anew. Its count is missing from then
// on, which the accounting shows.
func (s *Store) setRowAside(key, value []byte, cause error) error {
	if errors.Is(cause, stats.ErrVersion) {
		return fmt.Errorf("%w: %w", ErrSchema, cause)
	}
	name := fmt.Sprintf("row-%08x.bin", crc32.Checksum(key, castagnoli))
	body := append(append(slices.Clone(key), '\n'), value...)
	if err := writeQuarantineFile(s.o.QuarantineDir, name, body); err != nil {
		return err
	}
	s.damagedRows++
	s.o.Logger.Error("store: a statistics row is damaged; it was set aside and begun anew", "file", name, "error", cause)
	return nil
}

// Rows calls fn with every row of the hours from fromHour up to but not including toHour, persisted or not, each key once,
// hour by hour. The row is valid during the call and may not be changed. Each row is as of one moment, but a batch applied
// during the walk may be in some rows and not in others: whoever needs a cut across rows calls it between two batches.
// An error of fn ends the walk and is returned.
func (s *Store) Rows(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if fromHour >= toHour {
		return nil
	}
	s.mu.Lock()
	s.readers++ // before the view is taken: no row may leave memory that the view does not have
	live := s.liveRange(fromHour, toHour)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.readers--
		s.mu.Unlock()
	}()
	w := rowWalk{s: s, live: live, fn: fn}
	return s.view(func(txn *badger.Txn) error { return w.walk(ctx, txn, fromHour, toHour) })
}

type sortedRow struct {
	key []byte // as in the database
	row *liveRow
}

// liveRange lists the live rows of a range of hours in the order of their database keys. The caller holds mu.
func (s *Store) liveRange(fromHour, toHour int64) []sortedRow {
	var out []sortedRow
	for key, row := range s.live {
		if key.Hour >= fromHour && key.Hour < toHour {
			out = append(out, sortedRow{key: appendRowKey(nil, &key), row: row})
		}
	}
	slices.SortFunc(out, func(a, b sortedRow) int { return bytes.Compare(a.key, b.key) })
	return out
}

// rowWalk merges the persisted rows with the live ones, which take precedence.
type rowWalk struct {
	s       *Store
	live    []sortedRow // still to come
	fn      func(stats.Key, *stats.Row) error
	scratch stats.Row
}

func (w *rowWalk) walk(ctx context.Context, txn *badger.Txn, fromHour, toHour int64) error {
	end := appendHourKey(nil, prefixRow, toHour)
	stop := errors.New("end of range")
	err := each(txn, []byte{prefixRow}, appendHourKey(nil, prefixRow, fromHour), func(key, value []byte) error {
		if bytes.Compare(key, end) >= 0 {
			return stop
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.liveBefore(key); err != nil {
			return err
		}
		if len(w.live) > 0 && bytes.Equal(w.live[0].key, key) {
			return w.nextLive()
		}
		return w.persisted(key, value)
	})
	if err != nil && !errors.Is(err, stop) {
		return err
	}
	return w.liveBefore(nil)
}

// liveBefore gives out the live rows that sort before key; all of them if key is nil.
func (w *rowWalk) liveBefore(key []byte) error {
	for len(w.live) > 0 && (key == nil || bytes.Compare(w.live[0].key, key) < 0) {
		if err := w.nextLive(); err != nil {
			return err
		}
	}
	return nil
}

func (w *rowWalk) nextLive() error {
	row := w.live[0].row
	w.live = w.live[1:]
	w.s.mu.Lock()
	w.scratch.CopyFrom(&row.row)
	w.s.mu.Unlock()
	if w.scratch.Count == 0 {
		return nil // made for a batch that was not committed
	}
	return w.fn(row.key, &w.scratch)
}

func (w *rowWalk) persisted(key, value []byte) error {
	k, err := parseRowKey(key)
	if err != nil {
		w.s.o.Logger.Error("store: skipped a statistics row with a damaged key", "key", fmt.Sprintf("%x", key), "error", err)
		return nil
	}
	return w.decoded(k, value)
}

func (w *rowWalk) decoded(key stats.Key, value []byte) error {
	_, body, err := rowBody(value)
	return w.body(key, body, err)
}

// body gives out a row from its encoded statistics, unless reading these failed.
func (w *rowWalk) body(key stats.Key, body []byte, err error) error {
	if err == nil {
		err = w.scratch.Decode(body)
	}
	if err != nil {
		// One bad row must not hide all others; the accounting shows that it is missing.
		w.s.o.Logger.Error("store: skipped a damaged statistics row", "row", fmt.Sprintf("%+v", key), "error", err)
		return nil
	}
	return w.fn(key, &w.scratch)
}

package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Rows calls fn with every row of the hours [fromHour, toHour), stored or live. It goes hour by hour and calls fn once per key. The row is
// only valid during the call and must not be changed. Some rows may include a batch that is applied during the walk, while others do not.
// A caller that needs a consistent set must therefore call Rows between two batches. If fn returns an error, the walk ends and Rows
// returns that error.
func (s *Statistics) Rows(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if fromHour >= toHour {
		return nil
	}
	defer s.keepLive()()
	live, complete := s.liveRange(fromHour, toHour)
	w := rowWalk{s: s, live: live, fn: fn}
	if complete {
		if err := ctx.Err(); err != nil {
			return err
		}
		return w.liveBefore(nil)
	}
	w.live = sorted(live)
	return s.view(func(txn *badger.Txn) error { return w.walk(ctx, txn, fromHour, toHour) })
}

// keepLive keeps all live rows in memory until release is called. A reader calls it before it begins its transaction, so every row is
// either live or visible in the transaction.
func (s *Statistics) keepLive() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.readers--
	}
}

type sortedRow struct {
	key []byte // the database key
	row *liveRow
}

// liveRange lists the live rows of the hours [fromHour, toHour), unsorted and without their keys. complete is true if the range is a
// single hour and all rows of that hour are live, which is common for the current hour of a busy service.
func (s *Statistics) liveRange(fromHour, toHour int64) (out []sortedRow, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, row := range s.live {
		if key.Hour >= fromHour && key.Hour < toHour {
			out = append(out, sortedRow{row: row})
		}
	}
	return out, toHour == fromHour+1 && len(out) == s.names.rowsAtMost(fromHour)
}

// sorted sorts rows by their database keys.
func sorted(rows []sortedRow) []sortedRow {
	for i := range rows {
		rows[i].key = appendRowKey(nil, &rows[i].row.key)
	}
	slices.SortFunc(rows, func(a, b sortedRow) int { return bytes.Compare(a.key, b.key) })
	return rows
}

// rowWalk merges the stored rows with the live ones. A live row hides the stored row with the same key.
type rowWalk struct {
	s       *Statistics
	live    []sortedRow // live rows that have not been passed to fn yet
	fn      func(stats.Key, *stats.Row) error
	scratch stats.Row
}

func (w *rowWalk) walk(ctx context.Context, txn *badger.Txn, fromHour, toHour int64) error {
	end := appendHourKey(nil, prefixRow, toHour)
	err := each(ctx, txn, []byte{prefixRow}, appendHourKey(nil, prefixRow, fromHour), func(key, value []byte) error {
		if bytes.Compare(key, end) >= 0 {
			return errStop
		}
		if err := w.liveBefore(key); err != nil {
			return err
		}
		if len(w.live) > 0 && bytes.Equal(w.live[0].key, key) {
			return w.nextLive()
		}
		k, err := parseRowKey(key)
		if err != nil {
			w.s.o.Logger.Error("store: skipped a statistics row with a damaged key; its responses are missing from the result", "key", fmt.Sprintf("%x", key), "error", err)
			return nil
		}
		return w.stored(k, value)
	})
	if err != nil {
		return err
	}
	return w.liveBefore(nil)
}

// liveBefore passes to w.fn the live rows that sort before key, or all of them if key is nil.
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
		return nil // the row was created for a batch that was not committed
	}
	return w.fn(row.key, &w.scratch)
}

// stored passes a stored row to fn. It skips a damaged row, so the other rows remain available; the accounting shows how many responses
// are missing.
func (w *rowWalk) stored(key stats.Key, value []byte) error {
	if _, err := decodeRow(value, &w.scratch); err != nil {
		w.s.o.Logger.Error("store: skipped a damaged statistics row; its responses are missing from the result", "row", fmt.Sprintf("%+v", key), "error", err)
		return nil
	}
	return w.fn(key, &w.scratch)
}

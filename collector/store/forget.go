package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// otherLabel is the label of the rows into which forgotten ones are merged.
const otherLabel = "(other)"

// Forget selects the rows and paths that [Store.Forget] removes.
type Forget struct {
	// Row selects rows by their names. Each selected row is merged into the (other) row of the same hour, host and method. Row is never
	// called for an (other) row.
	Row func(host, method, label string) bool
	// Event selects additional events, by the host and method of their row and by their path. The paths of these events are replaced, as
	// are the paths of the events of selected rows. The arguments are only valid during the call.
	Event func(host, method string, path []byte) bool
	// Path replaces the forgotten paths.
	Path string
	// PathState is written after everything else.
	PathState []StateChange
	// Reopen sets verified plans back to planned if some of their events have changed and all of their events are still in the store.
	// Their objects are then written again.
	Reopen bool
	// Count makes Forget only count what it would remove, without changing anything.
	Count bool
}

// Forget removes rows and paths but keeps every count: the totals stay the same and always equal the sum over the rows. No batch is
// applied while it runs. After it has returned, nothing that was forgotten can be read from the store; [Space.Expunge] then removes it
// from the files. A crash leaves complete transactions and an unfinished job; another call to Forget finishes the job.
func (s *Store) Forget(ctx context.Context, f *Forget) (*catalogue.Forgotten, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	s.checkpointMu.Lock()
	defer s.checkpointMu.Unlock()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.Rollups.runMu.Lock()
	defer s.Rollups.runMu.Unlock()
	if err := s.checkpointLocked(); err != nil { // now every row is stored, and the index of names is complete
		return nil, err
	}
	if err := s.pruneMinutes(ctx); err != nil { // now minutes are stored only for the hours for which minutes are kept
		return nil, err
	}
	w := forgetting{
		s: s, f: f, names: s.names.selected(f), selected: map[catalogue.RowName]bool{}, blocks: map[catalogue.BlockID]bool{}, hours: map[int64]bool{},
	}
	w.done.Names = len(w.names)
	for _, step := range []func(context.Context) error{w.events, w.mergeRows, w.plans, w.deleteNames} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("forget: %w", err)
		}
	}
	return &w.done, nil
}

// forgetting is one call to Forget. The caller holds checkpointMu, writeMu and runMu.
type forgetting struct {
	s        *Store
	f        *Forget
	names    map[string]nameSpan
	selected map[catalogue.RowName]bool // results of Forget.Row
	blocks   map[catalogue.BlockID]bool // blocks with changed events
	hours    map[int64]bool             // hours with changed rows
	done     catalogue.Forgotten
}

// forgetChunk limits the number of rows that one transaction merges.
const forgetChunk = 256

// mergeRows merges the selected rows into the (other) rows, hour by hour.
func (w *forgetting) mergeRows(ctx context.Context) error {
	if len(w.names) == 0 {
		return nil
	}
	first, last := int64(1<<62), int64(-1<<62)
	for _, span := range w.names {
		first, last = min(first, span.first), max(last, span.last)
	}
	for at := appendHourKey(nil, prefixRow, first); at != nil; {
		var found [][]byte
		var err error
		if found, at, err = w.findRows(ctx, at, last); err != nil {
			return err
		}
		err = inChunks(ctx, len(found), forgetChunk, func(from, to int) error {
			if err := w.mergeChunk(found[from:to]); err != nil {
				return err
			}
			crash.Point("store.forget.chunk")
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findRows returns the keys of at most forgetChunk selected rows, starting at a key, and the key at which to continue,
// which is nil at the end.
func (w *forgetting) findRows(ctx context.Context, from []byte, lastHour int64) (found [][]byte, next []byte, err error) {
	end := orderedHour(lastHour)
	err = w.s.view(func(txn *badger.Txn) error {
		return each(ctx, txn, []byte{prefixRow}, from, func(key, _ []byte) error {
			if len(key) < 9 || binary.BigEndian.Uint64(key[1:]) > end {
				return errStop
			}
			if len(found) == forgetChunk {
				next = bytes.Clone(key)
				return errStop
			}
			if _, selected := w.names[string(rowName(key))]; selected {
				found = append(found, bytes.Clone(key))
			}
			return nil
		})
	})
	return found, next, err
}

// mergeChunk merges rows into the (other) rows in one transaction.
func (w *forgetting) mergeChunk(keys [][]byte) error {
	rows := w.s.Statistics
	rows.rowsMu.Lock()
	defer rows.rowsMu.Unlock()
	m := rowMerge{into: map[stats.Key]*stats.Row{}, minutes: map[stats.Key]map[int64]*stats.Row{}}
	if err := w.s.view(func(txn *badger.Txn) error { return m.read(txn, keys) }); err != nil {
		return err
	}
	if !w.f.Count {
		if err := rows.writeMerged(&m); err != nil {
			return err
		}
	}
	w.done.Hours += len(keys)
	w.done.Responses += m.responses
	for key := range m.into {
		w.hours[key.Hour] = true
	}
	return nil
}

// rowMerge is one transaction that merges rows.
type rowMerge struct {
	from      []stats.Key
	into      map[stats.Key]*stats.Row
	responses uint64 // number of responses in the merged rows

	buckets [][]byte                           // keys of the minutes of from
	minutes map[stats.Key]map[int64]*stats.Row // minutes to add to the rows in into
}

func (m *rowMerge) read(txn *badger.Txn, keys [][]byte) error {
	for _, dbKey := range keys {
		key, err := parseRowKey(dbKey)
		if err != nil {
			return fmt.Errorf("%w: key of a row", ErrDamaged)
		}
		m.from = append(m.from, key)
		key.Label = otherLabel
		into := m.into[key]
		if into == nil {
			into = new(stats.Row)
			if _, err := readRow(txn, appendRowKey(nil, &key), into); err != nil {
				return err
			}
			m.into[key] = into
		}
		var row stats.Row
		if _, err := readRow(txn, dbKey, &row); err != nil {
			return err
		}
		m.responses += row.Count
		into.Merge(&row)
		if err := m.readMinutes(txn, dbKey, key); err != nil {
			return err
		}
	}
	return nil
}

// writeMerged writes the merged rows and deletes the old ones. The caller holds rowsMu. No batch is applied in the meantime, and a
// checkpoint has just been made. So the live rows contain nothing that has not been stored, and they can be dropped.
func (s *Statistics) writeMerged(m *rowMerge) error {
	var change rowChange
	s.mu.Lock()
	includes := s.lastBatch
	for key := range m.into {
		s.noteChange(&change, key.Hour, string(rowName(appendRowKey(nil, &key))))
	}
	s.mu.Unlock()
	err := s.update(func(txn *badger.Txn) error {
		for i := range m.from {
			if err := deleteKey(txn, appendRowKey(nil, &m.from[i])); err != nil {
				return err
			}
		}
		for key, row := range m.into {
			if err := set(txn, appendRowKey(nil, &key), appendRow(nil, includes, row)); err != nil {
				return err
			}
		}
		if err := s.writeMergedMinutes(txn, m); err != nil {
			return err
		}
		return change.write(txn)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rowsWritten(&change, true)
	for key := range m.into {
		delete(s.live, key)
	}
	for _, key := range m.from {
		delete(s.live, key)
	}
	return nil
}

// deleteNames deletes the names from the index and from the sums over longer spans, and then writes the path state.
func (w *forgetting) deleteNames(ctx context.Context) error {
	if w.f.Count {
		return nil
	}
	var names [][]byte
	for name, span := range w.names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.deleteSums(ctx, name, span); err != nil {
			return err
		}
		names = append(names, append([]byte{prefixName}, name...))
	}
	if err := w.s.deleteKeys(ctx, names); err != nil {
		return err
	}
	if err := w.s.setPaths(ctx, w.f.PathState); err != nil {
		return err
	}
	rows := w.s.Statistics
	rows.mu.Lock()
	defer rows.mu.Unlock()
	rows.names.forget(w.names)
	return nil
}

// deleteSums deletes the sums of a name, even those without a mark, because their keys contain the label.
func (w *forgetting) deleteSums(ctx context.Context, name string, span nameSpan) error {
	var keys [][]byte
	err := w.s.view(func(txn *badger.Txn) error {
		for _, t := range tiers {
			for n := t.span(span.first); n <= t.span(span.last); n++ {
				key := append(appendHourKey(nil, t.rows, n), name...)
				found, err := has(txn, key)
				if err != nil {
					return err
				}
				if found {
					keys = append(keys, key)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.s.deleteKeys(ctx, keys)
}

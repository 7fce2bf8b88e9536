package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// otherLabel is the label of the rows into which forgotten ones are merged.
const otherLabel = "(other)"

// Forget says what [Store.Forget] is to remove.
type Forget struct {
	// Row selects the rows by their names; they are merged into the (other) row of the same hour, host and method. It is
	// never asked for an (other) row.
	Row func(host, method, label string) bool
	// Event selects, by the name of their row and their path, the events whose path is replaced, besides those of the rows.
	Event func(host, method string, path []byte) bool
	// Path stands in place of the paths.
	Path string
	// PathState is written last, when all else is done.
	PathState []StateChange
	// Reopen sets verified plans whose events have changed, and are all still held, back to planned, so that their
	// objects are written again.
	Reopen bool
	// Count changes nothing and only counts.
	Count bool
}

// Forget removes rows and paths, and keeps every count: the totals stay as they are, and equal the sum over the rows at every
// moment. Nothing is applied meanwhile. When it returns, nothing that can be read from the store has what was forgotten;
// [Store.Expunge] then makes sure that the files do not have it either. A crash in between leaves a part done, every
// transaction of which is whole; calling it again finishes the rest.
func (s *Store) Forget(ctx context.Context, f *Forget) (*catalogue.Forgotten, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	s.checkpointMu.Lock()
	defer s.checkpointMu.Unlock()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.rollupMu.Lock()
	defer s.rollupMu.Unlock()
	if err := s.checkpointLocked(); err != nil {
		return nil, err
	}
	w := forgetting{s: s, f: f, names: s.selectNames(f), blocks: map[catalogue.BlockID]bool{}, hours: map[int64]bool{}}
	w.done.Names = len(w.names)
	for _, step := range []func(context.Context) error{w.events, w.rows, w.plans, w.rest} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("forget: %w", err)
		}
	}
	return &w.done, nil
}

// selectNames are the names of the rows to be forgotten. After a checkpoint the index of names is complete.
func (s *Store) selectNames(f *Forget) map[string]nameSpan {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]nameSpan{}
	for name, span := range s.names {
		k, err := parseName(name, 0)
		if err == nil && k.Label != otherLabel && f.Row(k.Host, k.Method, k.Label) {
			out[name] = span
		}
	}
	return out
}

// forgetting is one call of Forget; the caller holds checkpointMu, writeMu and rollupMu.
type forgetting struct {
	s      *Store
	f      *Forget
	names  map[string]nameSpan
	blocks map[catalogue.BlockID]bool // whose events are changed
	hours  map[int64]bool             // whose rows are changed
	done   catalogue.Forgotten
}

// forgetChunk bounds the rows that one transaction removes.
const forgetChunk = 256

// rows merges the selected rows into those of the others, hour by hour.
func (w *forgetting) rows(ctx context.Context) error {
	if len(w.names) == 0 {
		return nil
	}
	first, last := int64(1<<62), int64(-1<<62)
	for _, span := range w.names {
		first, last = min(first, span.first), max(last, span.last)
	}
	for at := appendHourKey(nil, prefixRow, first); at != nil; {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		var found [][]byte
		var err error
		if found, at, err = w.findRows(at, last); err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		for len(found) > 0 {
			n, err := fitting(len(found), func(n int) error { return w.mergeRows(found[:n]) })
			if err != nil {
				return err
			}
			found = found[n:]
			crash.Point("store.forget.chunk")
		}
	}
	return nil
}

// findRows returns the keys of at most forgetChunk selected rows from a key on, and the key to go on from; nil at the end.
func (w *forgetting) findRows(from []byte, lastHour int64) (found [][]byte, next []byte, err error) {
	end := orderedHour(lastHour)
	err = w.s.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = []byte{prefixRow}
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			key := it.Item().Key()
			if len(key) < 9 || binary.BigEndian.Uint64(key[1:]) > end {
				return nil
			}
			if len(found) == forgetChunk {
				next = slices.Clone(key)
				return nil
			}
			if _, selected := w.names[string(rowName(key))]; selected {
				found = append(found, slices.Clone(key))
			}
		}
		return nil
	})
	return found, next, err
}

// mergeRows moves what rows count into the rows of the others, in one transaction.
func (w *forgetting) mergeRows(keys [][]byte) error {
	s := w.s
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	m := rowMerge{into: map[stats.Key]*stats.Row{}, hours: map[int64]bool{}}
	if err := s.view(func(txn *badger.Txn) error { return m.read(txn, keys) }); err != nil {
		return err
	}
	if w.f.Count {
		w.merged(keys, &m)
		return nil
	}
	s.mu.Lock()
	includes := s.state.lastBatch
	names := map[string]nameSpan{}
	for key := range m.into {
		name := string(rowName(appendRowKey(nil, &key)))
		s.noteName(name, key.Hour)
		names[name] = s.names[name]
	}
	s.mu.Unlock()
	err := s.update(func(txn *badger.Txn) error { return m.write(s, txn, keys, names, includes) })
	if err != nil {
		return err
	}
	w.merged(keys, &m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rowsWritten(m.hours, names, true)
	for hour := range m.hours {
		s.stale[hour] = true
	}
	// What is in memory is what was persisted before: no batch is applied while writeMu is held, and a checkpoint was made.
	for key := range m.into {
		delete(s.live, key)
	}
	for _, key := range keys {
		if k, err := parseRowKey(key); err == nil {
			delete(s.live, k)
		}
	}
	return nil
}

// merged counts what one transaction has merged.
func (w *forgetting) merged(keys [][]byte, m *rowMerge) {
	w.done.Hours += len(keys)
	w.done.Responses += m.responses
	for hour := range m.hours {
		w.hours[hour] = true
	}
}

// rowMerge is what one transaction merges.
type rowMerge struct {
	into      map[stats.Key]*stats.Row
	hours     map[int64]bool
	responses uint64
}

func (m *rowMerge) read(txn *badger.Txn, keys [][]byte) error {
	for _, dbKey := range keys {
		key, err := parseRowKey(dbKey)
		if err != nil {
			return fmt.Errorf("%w: key of a row", ErrDamaged)
		}
		m.hours[key.Hour] = true
		key.Label = otherLabel
		into := m.into[key]
		if into == nil {
			into = new(stats.Row)
			if err := mergeStored(txn, appendRowKey(nil, &key), into, nil); err != nil {
				return err
			}
			m.into[key] = into
		}
		if err := mergeStored(txn, dbKey, into, &m.responses); err != nil {
			return err
		}
	}
	return nil
}

// mergeStored adds a persisted row, if there is one, and its count.
func mergeStored(txn *badger.Txn, key []byte, into *stats.Row, count *uint64) error {
	_, err := get(txn, key, func(value []byte) error {
		_, body, err := rowBody(value)
		if err != nil {
			return err
		}
		var row stats.Row
		if err := row.Decode(body); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if count != nil {
			*count += row.Count
		}
		into.Merge(&row)
		return nil
	})
	return err
}

func (m *rowMerge) write(s *Store, txn *badger.Txn, keys [][]byte, names map[string]nameSpan, includes uint64) error {
	for _, key := range keys {
		if err := deleteKey(txn, key); err != nil {
			return err
		}
	}
	for key, row := range m.into {
		if err := set(txn, appendRowKey(nil, &key), appendRow(nil, includes, row)); err != nil {
			return err
		}
	}
	if err := dropMarks(txn, m.hours); err != nil {
		return err
	}
	return s.writeNames(txn, names)
}

// rest removes the names from the index and from the sums over longer spans, and writes the path state.
func (w *forgetting) rest(ctx context.Context) error {
	if w.f.Count {
		return nil
	}
	s := w.s
	for name, span := range w.names {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		if err := w.dropSums(ctx, name, span); err != nil {
			return err
		}
	}
	var keys [][]byte
	for name := range w.names {
		keys = append(keys, append([]byte{prefixName}, name...))
	}
	if err := s.deleteKeys(ctx, keys); err != nil {
		return err
	}
	if err := s.setPaths(ctx, w.f.PathState); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range w.names {
		delete(s.names, name)
	}
	return nil
}

// dropSums removes the sums of a name: whether their marks stand or not, their keys have the label.
func (w *forgetting) dropSums(ctx context.Context, name string, span nameSpan) error {
	var keys [][]byte
	err := w.s.view(func(txn *badger.Txn) error {
		for _, t := range tiers {
			for n := t.span(span.first); n <= t.span(span.last); n++ {
				key := append(appendHourKey(nil, t.rows, n), name...)
				found, err := get(txn, key, func([]byte) error { return nil })
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

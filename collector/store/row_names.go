package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// nameSpan is the range of hours in which there may be rows with a name. A name is a row's key without its hour.
type nameSpan struct {
	first, last int64
	written     bool // whether the index already has this span
}

// rowName returns the part of a row's key that follows the hour.
func rowName(key []byte) []byte { return key[9:] }

// parseName parses a row's name. The name does not contain the hour, so the caller must pass it.
func parseName(name string, hour int64) (stats.Key, error) {
	return parseRowKey(append(appendHourKey(nil, prefixRow, hour), name...))
}

// nameIndex is the index of names: every row, stored or live, is in the span of its name. Additions and deletions are made with
// Statistics.mu held, so the index always agrees with the live rows.
type nameIndex struct {
	mu    sync.Mutex
	spans map[string]nameSpan // guarded by mu
}

// note extends the span of a row's name to include an hour, and returns the span.
func (x *nameIndex) note(name string, hour int64) nameSpan {
	x.mu.Lock()
	defer x.mu.Unlock()
	span, known := x.spans[name]
	if known && span.first <= hour && hour <= span.last {
		return span
	}
	if !known {
		span = nameSpan{first: hour, last: hour}
	}
	span = nameSpan{first: min(span.first, hour), last: max(span.last, hour)}
	x.spans[name] = span
	return span
}

// wrote records that spans have been written. It skips spans that have changed since.
func (x *nameIndex) wrote(names map[string]nameSpan) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, span := range names {
		if x.spans[name] == span {
			span.written = true
			x.spans[name] = span
		}
	}
}

// forget removes names.
func (x *nameIndex) forget(names map[string]nameSpan) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name := range names {
		delete(x.spans, name)
	}
}

// rowsAtMost returns an upper bound for the number of rows in an hour, stored or live.
func (x *nameIndex) rowsAtMost(hour int64) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, span := range x.spans {
		if span.first <= hour && hour <= span.last {
			n++
		}
	}
	return n
}

// hours returns the hours of the oldest and the newest row, or false if there are no rows.
func (x *nameIndex) hours() (first, last int64, found bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	first, last = math.MaxInt64, math.MinInt64
	for _, span := range x.spans {
		first, last = min(first, span.first), max(last, span.last)
	}
	return first, last, len(x.spans) > 0
}

// in returns the selected names, and an upper bound for the number of their rows in the hours [from, to).
func (x *nameIndex) in(from, to int64, keep func(stats.Key) bool) (names []namedSpan, rows int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, span := range x.spans {
		first, last := max(span.first, from), min(span.last, to-1)
		if first > last {
			continue
		}
		key, err := parseName(name, 0)
		if err != nil || !keep(key) {
			continue
		}
		names = append(names, namedSpan{key, span})
		rows += last - first + 1
	}
	return names, rows
}

// selected returns the names of the rows to forget.
func (x *nameIndex) selected(f *Forget) map[string]nameSpan {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := map[string]nameSpan{}
	for name, span := range x.spans {
		k, err := parseName(name, 0)
		if err == nil && k.Label != otherLabel && f.Row(k.Host, k.Method, k.Label) {
			out[name] = span
		}
	}
	return out
}

// writeNames writes the new spans of names, in the transaction that writes their rows.
func writeNames(txn *badger.Txn, names map[string]nameSpan) error {
	for name, span := range names {
		value := binary.LittleEndian.AppendUint64(nil, orderedHour(span.first))
		value = binary.LittleEndian.AppendUint64(value, orderedHour(span.last))
		if err := set(txn, append([]byte{prefixName}, name...), value); err != nil {
			return err
		}
	}
	return nil
}

// load reads the index, and reports whether it is complete.
func (x *nameIndex) load(txn *badger.Txn) (complete bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	err = each(context.Background(), txn, []byte{prefixName}, nil, func(key, value []byte) error {
		if len(key) == 1 {
			complete = true // the index includes every row that is older than the index itself
			return nil
		}
		if len(value) != 16 {
			return fmt.Errorf("%w: span of a name", ErrDamaged)
		}
		x.spans[string(key[1:])] = nameSpan{
			first: decodeHour(binary.LittleEndian.Uint64(value)), last: decodeHour(binary.LittleEndian.Uint64(value[8:])), written: true,
		}
		return nil
	})
	return complete, err
}

// build creates the index of a store that was written without one. It reads all rows once.
func (x *nameIndex) build(d *database) error {
	ctx := context.Background()
	err := d.view(func(txn *badger.Txn) error {
		return each(ctx, txn, []byte{prefixRow}, nil, func(key, _ []byte) error {
			if len(key) > 9 {
				x.note(string(rowName(key)), keyHour(key))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	all := maps.Clone(x.spans)
	x.mu.Unlock()
	names := slices.Collect(maps.Keys(all))
	err = d.updateInChunks(ctx, len(names), rowsChunk, func(txn *badger.Txn, from, to int) error {
		chunk := map[string]nameSpan{}
		for _, name := range names[from:to] {
			chunk[name] = all[name]
		}
		return writeNames(txn, chunk)
	})
	if err != nil {
		return err
	}
	x.wrote(all)
	return d.update(func(txn *badger.Txn) error { return set(txn, []byte{prefixName}, []byte{1}) })
}

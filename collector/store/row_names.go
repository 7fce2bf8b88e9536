package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// nameSpan says in which hours there may be rows with a name. A name is a row's key without its hour.
type nameSpan struct {
	first, last int64
	written     bool // whether the index already has this span
}

// rowName returns the part of a row's key that follows the hour.
func rowName(key []byte) []byte { return key[9:] }

// parseName parses a row's name. The caller knows the hour.
func parseName(name string, hour int64) (stats.Key, error) {
	return parseRowKey(append(appendHourKey(nil, prefixRow, hour), name...))
}

// noteName widens the span of a row's name. The caller holds mu.
func (s *Statistics) noteName(name string, hour int64) {
	span, known := s.names[name]
	if known && span.first <= hour && hour <= span.last {
		return
	}
	if !known {
		span = nameSpan{first: hour, last: hour}
	}
	s.names[name] = nameSpan{first: min(span.first, hour), last: max(span.last, hour)}
}

// rowsAtMost returns an upper bound for the number of rows in an hour, stored or live. The caller holds mu.
func (s *Statistics) rowsAtMost(hour int64) (n int) {
	for _, span := range s.names {
		if span.first <= hour && hour <= span.last {
			n++
		}
	}
	return n
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

// loadNames reads the index of names, and reports whether the index is complete.
func (s *Statistics) loadNames(txn *badger.Txn) (complete bool, err error) {
	err = each(context.Background(), txn, []byte{prefixName}, nil, func(key, value []byte) error {
		if len(key) == 1 {
			complete = true // it includes every row that is older than the index
			return nil
		}
		if len(value) != 16 {
			return fmt.Errorf("%w: span of a name", ErrDamaged)
		}
		s.names[string(key[1:])] = nameSpan{
			first: decodeHour(binary.LittleEndian.Uint64(value)), last: decodeHour(binary.LittleEndian.Uint64(value[8:])), written: true,
		}
		return nil
	})
	return complete, err
}

// indexNames creates the index of a store that was written without one. It walks through all rows, once.
func (s *Statistics) indexNames() error {
	ctx := context.Background()
	err := s.view(func(txn *badger.Txn) error {
		return each(ctx, txn, []byte{prefixRow}, nil, func(key, _ []byte) error {
			if len(key) > 9 {
				s.noteName(string(rowName(key)), keyHour(key))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	names := slices.Collect(maps.Keys(s.names))
	err = s.updateInChunks(ctx, len(names), rowsChunk, func(txn *badger.Txn, from, to int) error {
		chunk := map[string]nameSpan{}
		for _, name := range names[from:to] {
			chunk[name] = s.names[name]
		}
		return writeNames(txn, chunk)
	})
	if err != nil {
		return err
	}
	for name, span := range s.names {
		span.written = true
		s.names[name] = span
	}
	return s.update(func(txn *badger.Txn) error { return set(txn, []byte{prefixName}, []byte{1}) })
}

// hoursHeld returns the hours of the oldest and the newest row, or false if there are no rows.
func (s *Statistics) hoursHeld() (first, last int64, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last = math.MaxInt64, math.MinInt64
	for _, span := range s.names {
		first, last = min(first, span.first), max(last, span.last)
	}
	return first, last, len(s.names) > 0
}

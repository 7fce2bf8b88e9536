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

// nameSpan says in which hours rows of a name may be: a row's key without its hour.
type nameSpan struct {
	first, last int64
	written     bool // the index has it as it is here
}

// rowName is the part of a row's key behind the hour.
func rowName(key []byte) []byte { return key[9:] }

// noteName widens the span of a row's name. The caller holds mu.
func (s *Store) noteName(name string, hour int64) {
	span, known := s.names[name]
	if known && span.first <= hour && hour <= span.last {
		return
	}
	if !known {
		span = nameSpan{first: hour, last: hour}
	}
	s.names[name] = nameSpan{first: min(span.first, hour), last: max(span.last, hour)}
}

// writeNames writes the spans of names that have changed into the transaction that writes their rows.
func (s *Store) writeNames(txn *badger.Txn, names map[string]nameSpan) error {
	for name, span := range names {
		value := binary.LittleEndian.AppendUint64(nil, orderedHour(span.first))
		value = binary.LittleEndian.AppendUint64(value, orderedHour(span.last))
		if err := set(txn, append([]byte{prefixName}, name...), value); err != nil {
			return err
		}
	}
	return nil
}

// loadNames reads the index of names, and makes it for a store that has none yet.
func (s *Store) loadNames(txn *badger.Txn) (complete bool, err error) {
	err = each(txn, []byte{prefixName}, nil, func(key, value []byte) error {
		if len(key) == 1 {
			complete = true // every row that was there before the index is in it
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

// indexNames makes the index of a store that was written without one: it walks all rows, once.
func (s *Store) indexNames() error {
	err := s.view(func(txn *badger.Txn) error {
		return eachKey(txn, []byte{prefixRow}, func(key []byte) bool {
			if len(key) > 9 {
				s.noteName(string(rowName(key)), decodeHour(binary.BigEndian.Uint64(key[1:])))
			}
			return true
		})
	})
	if err != nil {
		return err
	}
	names := slices.Collect(maps.Keys(s.names))
	err = s.inParts(context.Background(), len(names), chunkRowsMax, func(txn *badger.Txn, from, to int) error {
		part := map[string]nameSpan{}
		for _, name := range names[from:to] {
			part[name] = s.names[name]
		}
		return s.writeNames(txn, part)
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

// parseName splits a row's name; the hour is that of the key it came from.
func parseName(name string, hour int64) (stats.Key, error) {
	return parseRowKey(append(appendHourKey(nil, prefixRow, hour), name...))
}

// hoursHeld are the hours of the oldest and the newest row; false if there is none. The caller holds mu.
func (s *Store) hoursHeld() (first, last int64, found bool) {
	first, last = math.MaxInt64, math.MinInt64
	for _, span := range s.names {
		first, last = min(first, span.first), max(last, span.last)
	}
	return first, last, len(s.names) > 0
}

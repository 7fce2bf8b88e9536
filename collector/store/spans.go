package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"

	"github.com/dgraph-io/badger/v4"
)

// dropOld removes the spans of a tier with numbers below before. The caller holds rollupMu.
func (s *Store) dropOld(ctx context.Context, t tier, before int64) error {
	if from, known := s.keptFrom[t.mark]; known && before <= from {
		return nil
	}
	for _, prefix := range [...]byte{t.mark, t.rows} { // marks first: without one, sums have no meaning
		if err := s.dropSpans(ctx, prefix, math.MinInt64, before); err != nil {
			return err
		}
	}
	s.mu.Lock()
	for span := range s.summed[t.mark] {
		if span < before {
			delete(s.summed[t.mark], span)
		}
	}
	s.mu.Unlock()
	s.keptFrom[t.mark] = before
	return nil
}

// dropSpans removes the keys of a prefix whose span has a number in [from, before).
func (s *Store) dropSpans(ctx context.Context, prefix byte, from, before int64) error {
	start := appendHourKey(nil, prefix, from)
	for limit := orderedHour(before); ; {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		var keys [][]byte
		err := s.view(func(txn *badger.Txn) error {
			return eachKeyFrom(txn, []byte{prefix}, start, func(key []byte) bool {
				if len(key) < 9 || binary.BigEndian.Uint64(key[1:]) >= limit || len(keys) == forgetChunk {
					return false
				}
				keys = append(keys, bytes.Clone(key))
				return true
			})
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		start = keys[len(keys)-1] // not from the beginning: what was deleted is slow to pass over
		if err := s.deleteKeys(ctx, keys); err != nil {
			return err
		}
	}
}

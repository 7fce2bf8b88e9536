package store

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/dgraph-io/badger/v4"
)

// The last 24 hours, which are asked for most, never contain a whole day. Sums of parts of recent days make their rows a
// third as many. They are derived like those of days, and removed after three days, so that they cost nothing for ever.
const partsKept = 3 * dayHours / partHours

// dropParts removes the sums of parts with numbers below before. The caller holds rollupMu.
func (s *Store) dropParts(ctx context.Context, before int64) error {
	if before <= s.partsFrom {
		return nil
	}
	for _, prefix := range [...]byte{prefixPart, prefixPartRow} { // marks first: without one, sums have no meaning
		if err := s.dropSpans(ctx, prefix, before); err != nil {
			return err
		}
	}
	s.mu.Lock()
	for span := range s.summed[prefixPart] {
		if span < before {
			delete(s.summed[prefixPart], span)
		}
	}
	s.mu.Unlock()
	s.partsFrom = before
	return nil
}

// dropSpans removes the keys of a prefix whose span has a number below before.
func (s *Store) dropSpans(ctx context.Context, prefix byte, before int64) error {
	for limit := orderedHour(before); ; {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		var keys [][]byte
		err := s.view(func(txn *badger.Txn) error {
			return eachKey(txn, []byte{prefix}, func(key []byte) bool {
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
		err = s.update(func(txn *badger.Txn) error {
			for _, key := range keys {
				if err := deleteKey(txn, key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

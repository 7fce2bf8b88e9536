package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// pathsChunk is the maximum number of path state entries in a transaction that writes nothing else.
const pathsChunk = 512

// StateChange is one change of path state. A nil Value deletes the key.
type StateChange struct{ Key, Value []byte }

func (c StateChange) write(txn *badger.Txn) error {
	key := append([]byte{prefixPath}, c.Key...)
	if c.Value == nil {
		return deleteKey(txn, key)
	}
	return set(txn, key, c.Value)
}

// PathState calls fn with every key and value of path state, in ascending order of keys. The slices are only valid
// during the call.
func (s *Store) PathState(fn func(key, value []byte) error) error {
	return s.viewOnce(func(txn *badger.Txn) error {
		return each(context.Background(), txn, []byte{prefixPath}, nil, func(key, value []byte) error { return fn(key[1:], value) })
	})
}

// SetPathState writes path state without a batch, for templates that were learned from imported or refilled rows. The changes are not
// written atomically, but each entry is valid without the others.
func (s *Store) SetPathState(ctx context.Context, changes []StateChange) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.setPaths(ctx, changes); err != nil {
		return fmt.Errorf("set path state: %w", err)
	}
	return nil
}

// setPaths writes path state in several transactions. The caller holds writeMu.
func (s *Store) setPaths(ctx context.Context, changes []StateChange) error {
	return s.updateInChunks(ctx, len(changes), pathsChunk, func(txn *badger.Txn, from, to int) error {
		for _, change := range changes[from:to] {
			if err := change.write(txn); err != nil {
				return err
			}
		}
		return nil
	})
}

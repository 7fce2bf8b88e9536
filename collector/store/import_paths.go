package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// pathsChunk is the largest number of entries of path state in one transaction of their own.
const pathsChunk = 512

// ImportPathState writes path state into a store that has never applied a batch, beside the rows that ImportRows wrote.
// Like that it is not atomic.
func (s *Store) ImportPathState(ctx context.Context, changes []StateChange) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.mu.Lock()
	used := s.state.lastBatch > 0
	s.mu.Unlock()
	if used {
		return fmt.Errorf("import path state: %w: the store has state of its own", ErrInvalid)
	}
	changes = slices.DeleteFunc(slices.Clone(changes), func(c StateChange) bool { return c.Value == nil }) // never written
	if err := s.setPaths(ctx, changes); err != nil {
		return fmt.Errorf("import path state: %w", err)
	}
	return nil
}

// setPaths writes path state, some entries at a time.
func (s *Store) setPaths(ctx context.Context, changes []StateChange) error {
	return s.inParts(ctx, len(changes), pathsChunk, func(txn *badger.Txn, from, to int) error {
		for _, change := range changes[from:to] {
			if err := setPath(txn, change); err != nil {
				return err
			}
		}
		return nil
	})
}

package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// pathsChunk is the largest number of entries of path state in one transaction of their own.
const pathsChunk = 512

// SetPathState writes path state that comes with no batch: what was learnt from rows that were imported or refilled. It is not atomic:
// each entry is right by itself.
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

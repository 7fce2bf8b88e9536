package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// importPathsMax is the number of entries of path state in one transaction of ImportPathState.
const importPathsMax = 512

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
	for part := range slices.Chunk(changes, importPathsMax) {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		err := s.update(func(txn *badger.Txn) error {
			for _, change := range part {
				if change.Value == nil {
					continue // never written
				}
				if err := setPath(txn, change); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("import path state: %w", err)
		}
	}
	return nil
}

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// expungeTries bounds the memtables that Expunge writes. Badger merges its first level once there are more than four tables
// in it, whatever is asked of it.
const expungeTries = 12

// ErrNotExpunged says that files of the store still hold what was deleted or replaced. It wraps [ErrUnavailable]: reading
// that goes on, or a disk without room, keeps old versions, and trying again later helps.
var ErrNotExpunged = fmt.Errorf("%w: files still hold what was deleted or replaced", ErrUnavailable)

// Expunge rewrites the files of the store until none of them holds a value that had been deleted or replaced before the call.
// Badger appends, and keeps what is gone until its levels are merged; this merges them, at the price of rewriting most tables
// and writing up to a dozen memtables of padding.
func (s *Store) Expunge(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.flattenMu.Lock()
	defer s.flattenMu.Unlock()
	through := s.db.MaxVersion()
	for range expungeTries {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		if err := s.flushMemtable(); err != nil {
			return fmt.Errorf("expunge: %w", err)
		}
		if err := s.db.Flatten(1); err != nil {
			return fmt.Errorf("%w: expunge: %w", ErrUnavailable, err)
		}
		clean, err := s.expunged(ctx, through)
		if err != nil || clean {
			return err
		}
	}
	return fmt.Errorf("expunge: %w", ErrNotExpunged)
}

// expunged reports whether no version up to one is kept that was replaced or deleted by another up to it. Versions are
// given out newest first.
func (s *Store) expunged(ctx context.Context, through uint64) (bool, error) {
	clean := true
	err := s.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues, o.AllVersions = false, true
		it := txn.NewIterator(o)
		defer it.Close()
		var key []byte
		replaced := false // a newer version of key, up to through, was seen
		for it.Rewind(); it.Valid(); it.Next() {
			if err := ctx.Err(); err != nil {
				return err //nolint:wrapcheck // the caller's own
			}
			item := it.Item()
			if item.Key()[0] == prefixPadding {
				continue
			}
			if !bytes.Equal(key, item.Key()) {
				key, replaced = append(key[:0], item.Key()...), false
			}
			if item.Version() > through {
				continue
			}
			if replaced || item.IsDeletedOrExpired() {
				clean = false
				return errStop
			}
			replaced = true
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return clean, err
}

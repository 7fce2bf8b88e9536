package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// expungeTries limits the number of memtables that Expunge writes. Badger merges its first level only if it has more than four tables.
const expungeTries = 12

// ErrNotExpunged means that files of the store still contain deleted or replaced values. It wraps [ErrUnavailable]: a long read or a full
// disk can keep old versions from being removed, and a later attempt can succeed.
var ErrNotExpunged = fmt.Errorf("%w: files still hold deleted or replaced values", ErrUnavailable)

// Expunge rewrites the files of the store until none of them contains a value that was deleted or replaced before the
// call. Badger only appends, and keeps old values until it merges its levels. Expunge forces such a merge, which
// rewrites most tables and writes up to a dozen memtables of padding.
func (s *Space) Expunge(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.flattenMu.Lock()
	defer s.flattenMu.Unlock()
	through := s.db.MaxVersion()
	for range expungeTries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.flatten(); err != nil {
			return fmt.Errorf("expunge: %w", err)
		}
		clean, err := s.expunged(ctx, through)
		if err != nil || clean {
			return err
		}
	}
	return fmt.Errorf("expunge: %w", ErrNotExpunged)
}

// expunged reports whether no version up to through is left that a newer version has replaced or deleted. Badger's iterator returns the
// versions of a key newest first.
func (s *Space) expunged(ctx context.Context, through uint64) (clean bool, err error) {
	err = s.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues, o.AllVersions = false, true
		it := txn.NewIterator(o)
		defer it.Close()
		var key []byte
		replaced := false // whether the loop has seen a newer version of key that is not above through
		for it.Rewind(); it.Valid(); it.Next() {
			if err := ctx.Err(); err != nil {
				return err
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
				return nil
			}
			replaced = true
		}
		clean = true
		return nil
	})
	return clean, err
}

package store

import (
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// Badger limits a transaction in bytes and in entries, and both depend on what strangers send: hosts, paths, methods, statuses.
// So no list is written in transactions of a fixed number of elements. A part that does not fit is halved, down to one element:
// what must fit is one row, one plan, one name.

// fitting calls write with n, and with half as many as long as that does not fit one transaction. It returns the number that was
// written. write must have no effect when it fails.
func fitting(n int, write func(n int) error) (int, error) {
	for {
		err := write(n)
		if n <= 1 || !errors.Is(err, ErrBatchTooLarge) {
			return n, err
		}
		n /= 2
	}
}

// inParts writes n elements in transactions of at most most elements each, and of fewer if they do not fit. fn writes those from
// one index up to but not including another; it is called again with fewer after a part that did not fit.
func (s *Store) inParts(ctx context.Context, n, most int, fn func(txn *badger.Txn, from, to int) error) error {
	for from := 0; from < n; {
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the caller's own
		}
		took, err := fitting(min(most, n-from), func(k int) error {
			return s.update(func(txn *badger.Txn) error { return fn(txn, from, from+k) })
		})
		if err != nil {
			return err
		}
		from += took
		most = min(most, 2*took) // the next ones are probably alike
	}
	return nil
}

// deleteKeys removes keys, some at a time.
func (s *Store) deleteKeys(ctx context.Context, keys [][]byte) error {
	return s.inParts(ctx, len(keys), deleteChunk, func(txn *badger.Txn, from, to int) error {
		for _, key := range keys[from:to] {
			if err := deleteKey(txn, key); err != nil {
				return err
			}
		}
		return nil
	})
}

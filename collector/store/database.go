package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/memfault"
)

// database wraps Badger and returns the errors of this package. Every component of a store embeds it.
//
// After a commit whose outcome is unknown, the database is in the state "failed": it writes nothing more, because continuing could apply
// a batch twice.
type database struct {
	o  *Options
	db *badger.DB

	failed atomic.Pointer[error]

	useMu   sync.Mutex
	useDone sync.Cond
	uses    int  // number of calls in progress; guarded by useMu
	closed  bool // guarded by useMu
}

func newDatabase(o *Options, db *badger.DB) *database {
	d := &database{o: o, db: db}
	d.useDone.L = &d.useMu
	return d
}

// enter marks the beginning of a call that uses the database. The caller must call leave at the end of that call. Close waits for calls
// in progress.
func (d *database) enter() error {
	d.useMu.Lock()
	defer d.useMu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.uses++
	return nil
}

func (d *database) leave() {
	d.useMu.Lock()
	defer d.useMu.Unlock()
	d.uses--
	if d.uses == 0 {
		d.useDone.Broadcast()
	}
}

// shut makes enter return an error from now on, and waits for the calls in progress. It returns false if shut has been called before.
func (d *database) shut() bool {
	d.useMu.Lock()
	defer d.useMu.Unlock()
	if d.closed {
		return false
	}
	d.closed = true
	for d.uses > 0 {
		d.useDone.Wait()
	}
	return true
}

// closeWait is the maximum time that closeBadger waits for Badger to close. Badger repeats a failing write until it succeeds, so on a
// dead or full disk, Badger would never finish closing. For a database that has already failed, the shorter limit applies.
const (
	closeWait       = 10 * time.Second
	closeWaitFailed = 2 * time.Second
)

// closeBadger closes Badger. If that takes too long, Badger stays open, and holds its locks, until the process ends. Nothing is lost,
// because every commit has been synced and the next Open finds it.
func (d *database) closeBadger() error {
	wait := closeWait
	if d.Failed() != nil {
		wait = closeWaitFailed
	}
	closed := make(chan error, 1)
	go func() { closed <- d.db.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(wait):
		return fmt.Errorf("%w: the disk does not accept the remaining writes; the database stays open until the process ends", ErrUnavailable)
	}
}

// Failed returns nil, or an error that wraps [ErrFailed] and says why the store must be reopened.
func (d *database) Failed() error {
	if p := d.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// update runs fn in a transaction and commits it durably. If fn fails, update returns fn's error, and nothing is written. The caller must
// have called enter, and must not have called leave yet.
func (d *database) update(fn func(*badger.Txn) error) error {
	if err := d.Failed(); err != nil {
		return err
	}
	txn := d.db.NewTransaction(true)
	defer txn.Discard()
	if err := fn(txn); err != nil {
		return err
	}
	if err := txn.Commit(); err != nil { // Badger may still have written some or all of it
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		d.failed.CompareAndSwap(nil, &err)
		d.o.Logger.Error("store: a commit failed; nothing will be written until the store is reopened", "error", err)
		return err
	}
	return nil
}

// view runs fn in a read-only transaction. The caller must have called enter, and must not have called leave yet.
func (d *database) view(fn func(*badger.Txn) error) error {
	txn := d.db.NewTransaction(false)
	defer txn.Discard()
	return fn(txn)
}

// updateOnce calls enter, update and leave, for callers that do nothing else.
func (d *database) updateOnce(fn func(*badger.Txn) error) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	return d.update(fn)
}

// viewOnce calls enter, view and leave, for callers that do nothing else.
func (d *database) viewOnce(fn func(*badger.Txn) error) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	return d.view(fn)
}

// Badger limits the bytes and the entries of a transaction, and the size of entries depends on the hosts, paths and methods that clients
// send, and on statuses. So no list is written in transactions of a fixed number of elements. Instead, a chunk that does not fit is
// halved until it fits. A single row, plan or name always fits.

// fitting calls write with n, the number of elements to write in one transaction, and halves n as long as they do not fit. It returns the
// number of elements written. A write that fails must have no effect.
func fitting(n int, write func(n int) error) (int, error) {
	for {
		err := write(n)
		if n <= 1 || !errors.Is(err, ErrBatchTooLarge) {
			return n, err
		}
		n /= 2
	}
}

// inChunks calls write for n elements, in chunks of at most limit elements, or fewer if they do not fit. write must write the elements
// [from, to). If a chunk does not fit, write is called again with fewer elements.
func inChunks(ctx context.Context, n, limit int, write func(from, to int) error) error {
	for from, size := 0, limit; from < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		written, err := fitting(min(size, n-from), func(k int) error { return write(from, from+k) })
		if err != nil {
			return err
		}
		from += written
		size = min(limit, 2*written) // the next elements are probably similar in size
	}
	return nil
}

// updateInChunks is like inChunks, with one transaction per chunk.
func (d *database) updateInChunks(ctx context.Context, n, limit int, write func(txn *badger.Txn, from, to int) error) error {
	return inChunks(ctx, n, limit, func(from, to int) error {
		return d.update(func(txn *badger.Txn) error { return write(txn, from, to) })
	})
}

// deleteChunk is the maximum number of keys that one transaction deletes.
const deleteChunk = 2048

// deleteKeys deletes keys in several transactions.
func (d *database) deleteKeys(ctx context.Context, keys [][]byte) error {
	return d.updateInChunks(ctx, len(keys), deleteChunk, func(txn *badger.Txn, from, to int) error {
		for _, key := range keys[from:to] {
			if err := deleteKey(txn, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// spanChunk limits the number of keys that deleteSpans collects at a time.
const spanChunk = 256

// deleteSpans deletes the keys that have the given prefix and a number (of an hour or a span of hours) in [from, to).
func (d *database) deleteSpans(ctx context.Context, prefix byte, from, to int64) error {
	start := appendHourKey(nil, prefix, from)
	for limit := orderedHour(to); ; {
		var keys [][]byte
		err := d.view(func(txn *badger.Txn) error {
			return each(ctx, txn, []byte{prefix}, start, func(key, _ []byte) error {
				if len(key) < 9 || binary.BigEndian.Uint64(key[1:]) >= limit || len(keys) == spanChunk {
					return errStop
				}
				keys = append(keys, bytes.Clone(key))
				return nil
			})
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		start = keys[len(keys)-1] // continue here, because Badger is slow to skip deleted keys
		if err := d.deleteKeys(ctx, keys); err != nil {
			return err
		}
	}
}

// get calls fn with the value of a key. The value is valid only during the call. get returns false if there is no such key.
func get(txn *badger.Txn, key []byte, fn func([]byte) error) (bool, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return true, item.Value(fn)
}

// has reports whether a key exists.
func has(txn *badger.Txn, key []byte) (bool, error) {
	return get(txn, key, func([]byte) error { return nil })
}

// errStop is returned by a callback to end a walk without an error.
var errStop = errors.New("stop")

// each calls fn with the keys that have a prefix, and their values. It starts at the key from, or at the first key if from is nil, and
// ends when fn returns an error; if that is errStop, each returns nil. Both slices are only valid during the call.
func each(ctx context.Context, txn *badger.Txn, prefix, from []byte, fn func(key, value []byte) error) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false // values are in the tables together with their keys
	o.Prefix = prefix
	it := txn.NewIterator(o)
	defer it.Close()
	if from == nil {
		from = prefix
	}
	for it.Seek(from); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		item := it.Item()
		err := item.Value(func(v []byte) error { return fn(item.Key(), v) })
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// set is txn.Set with the errors of this package.
func set(txn *badger.Txn, key, value []byte) error { return wrapWrite(txn.Set(key, value)) }

// deleteKey is txn.Delete with the errors of this package.
func deleteKey(txn *badger.Txn, key []byte) error { return wrapWrite(txn.Delete(key)) }

func wrapWrite(err error) error {
	switch {
	case errors.Is(err, badger.ErrTxnTooBig):
		return ErrBatchTooLarge
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// guarded wraps a function that reads the store in a goroutine of its own. A panic on damaged data, or a fault in mapped memory,
// would end the process; the wrapped function returns it as an error that wraps ErrUnavailable.
func guarded(read func() error) func() error {
	return func() error {
		err := memfault.CatchError(read)
		if errors.Is(err, memfault.ErrPanic) {
			return fmt.Errorf("%w: query: %w", ErrUnavailable, err)
		}
		return err
	}
}

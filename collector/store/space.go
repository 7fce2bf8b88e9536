package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// Space releases disk space and memory that the store no longer needs.
type Space struct {
	*database

	flattenMu   sync.Mutex    // held during Flatten and Expunge
	flattenedAt time.Time     // guarded by flattenMu
	deleted     atomic.Uint64 // number of events deleted since the last Flatten

	written    atomic.Int64 // bytes of blocks written since the last pageout
	pagedOutAt time.Time    // used only by tidy
}

const (
	// flattenInterval and flattenEventsMin limit how often deletions are followed by a Flatten, which rewrites most tables.
	flattenInterval  = 10 * time.Minute
	flattenEventsMin = 50_000

	paddingBytes = 128 << 10
	// flushWait limits the time that a Flatten waits for Badger to write the memtable with the deletions to a table.
	flushWait = 10 * time.Second

	// pageoutInterval and pageoutBytes determine how often Run asks the kernel to reclaim mapped tables: after this time, or after this
	// many written bytes, whichever comes first.
	pageoutInterval = 30 * time.Second
	pageoutBytes    = 8 << 20
)

// noteDeleted counts deleted events.
func (s *Space) noteDeleted(events uint64) { s.deleted.Add(events) }

// Size returns the disk space, in bytes, that the store's tables (with their logs) and its value log take up.
func (s *Space) Size() (lsm, vlog int64) { return badgerfiles.Size(s.o.Dir) }

// flattenIfDue calls Flatten after large deletions.
func (s *Space) flattenIfDue() error {
	if !s.flattenMu.TryLock() { // a Flatten or an Expunge is running
		return nil
	}
	due := s.deleted.Load() >= flattenEventsMin && s.o.Now().Sub(s.flattenedAt).Abs() >= flattenInterval
	s.flattenMu.Unlock()
	if !due {
		return nil
	}
	return s.Flatten()
}

// Flatten merges Badger's levels, which returns the space of deleted events to the filesystem. It may run concurrently with everything
// else. Because it writes a memtable full of padding and rewrites most tables, [Store.Run] calls it only after large deletions, and at
// most every ten minutes. Badger does not merge a store that is entirely in its first level, so up to four memtables of deleted events
// may remain until the store grows.
func (s *Space) Flatten() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.flattenMu.Lock()
	defer s.flattenMu.Unlock()
	s.deleted.Store(0)
	s.flattenedAt = s.o.Now()
	return s.flatten()
}

func (s *Space) flatten() error {
	if err := s.flushMemtable(); err != nil {
		return fmt.Errorf("flatten: %w", err)
	}
	if err := s.db.Flatten(1); err != nil {
		return fmt.Errorf("%w: flatten: %w", ErrUnavailable, err)
	}
	return nil
}

// flushMemtable makes Badger write its memtable to a table, because Flatten does not affect deletions that are still in the memtable. The
// only way to achieve this is to fill up the memtable. If the disk is too full for that, flushMemtable does nothing; traffic will fill
// the memtable eventually.
func (s *Space) flushMemtable() error {
	free, err := disk.Free(s.o.Dir)
	if err != nil || free < 4*s.o.MemTableBytes+max(s.o.OpenFreeMin, 0) {
		return nil //nolint:nilerr // the next Flatten will reclaim the space
	}
	before := badgerfiles.Logs(s.o.Dir)
	padding := make([]byte, paddingBytes)
	for range s.o.MemTableBytes/paddingBytes + 2 {
		if err := s.update(func(txn *badger.Txn) error { return set(txn, []byte{prefixPadding}, padding) }); err != nil {
			return err
		}
		if slices.ContainsFunc(badgerfiles.Logs(s.o.Dir), func(name string) bool { return !slices.Contains(before, name) }) {
			break // there is a new memtable, so Badger is already writing the older ones to tables
		}
	}
	s.awaitFlush(before)
	return nil
}

// awaitFlush waits until the logs of some memtables have been removed. Badger removes a log as soon as the memtable's table is durable.
// awaitFlush stops waiting after flushWait; the next Flatten reclaims the rest of the space.
func (s *Space) awaitFlush(logs []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(flushWait)
	defer deadline.Stop()
	for slices.ContainsFunc(badgerfiles.Logs(s.o.Dir), func(name string) bool { return slices.Contains(logs, name) }) {
		select {
		case <-deadline.C:
			return
		case <-tick.C:
		}
	}
}

// tidy returns memory to the kernel, and creates the reserve file if it is missing. Only Run calls it.
func (s *Space) tidy() {
	if s.enter() != nil {
		return
	}
	defer s.leave()
	badgerfiles.TrimBuilders(s.db)
	now := s.o.Now()
	if s.written.Load() < pageoutBytes && now.Sub(s.pagedOutAt).Abs() < pageoutInterval {
		return
	}
	s.written.Store(0)
	s.pagedOutAt = now
	badgerfiles.PageOut(s.o.Dir)
	makeReserve(s.o)
}

// ensureFree returns an error if the disk is too full to open a store. On such a disk, Badger would write to a mapped page for which the
// filesystem has no block. The kernel would then kill the process with SIGBUS, from which Go code cannot recover. If space is short,
// ensureFree first deletes the reserve file.
func ensureFree(o *Options) error {
	if o.OpenFreeMin < 0 {
		return nil
	}
	dir := filepath.Dir(o.Dir)
	free, err := disk.Free(dir)
	if err == nil && free < o.OpenFreeMin && dropReserve(o) {
		free, err = disk.Free(dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if free < o.OpenFreeMin {
		return fmt.Errorf("%w: %d bytes are free in %s, but at least %d are needed: %w", ErrUnavailable, free, dir, o.OpenFreeMin, syscall.ENOSPC)
	}
	return nil
}

func reserveName(o *Options) string { return filepath.Join(filepath.Dir(o.Dir), "reserve") }

// dropReserve frees the space of the reserve file. It returns false if there is none.
func dropReserve(o *Options) bool {
	if err := os.Remove(reserveName(o)); err != nil {
		return false
	}
	o.Logger.Warn("store: the disk is full; removed the reserve file, so that the store can be opened", "bytes", o.ReserveBytes)
	return true
}

// makeReserve creates the reserve file, with allocated blocks, if it is missing and there is enough space for it.
func makeReserve(o *Options) {
	name := reserveName(o)
	if o.ReserveBytes <= 0 {
		return
	}
	if info, err := os.Stat(name); err == nil && info.Size() >= o.ReserveBytes {
		return
	}
	free, err := disk.Free(filepath.Dir(name))
	if err != nil || free < 4*o.ReserveBytes+max(o.OpenFreeMin, 0) {
		return
	}
	if err := allocate(name, o.ReserveBytes); err != nil {
		o.Logger.Warn("store: cannot create the reserve file; a full disk may keep the store from opening", "file", name, "error", err)
	}
}

// allocate creates a file and allocates its blocks.
func allocate(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = f.WriteAt(make([]byte, size), 0)
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

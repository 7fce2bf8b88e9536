package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/wayside-proxy/wayside/internal/disk"
)

const (
	// flattenInterval and flattenEventsMin limit how often deleting is followed by a Flatten, which rewrites the tables.
	flattenInterval  = 10 * time.Minute
	flattenEventsMin = 50_000

	paddingBytes = 128 << 10
	// flushWait is how long a Flatten waits for Badger to write out the memtable that holds the deletions.
	flushWait = 10 * time.Second
)

// flattenIfDue gives the space of deleted events back to the file system, now and then.
func (s *Store) flattenIfDue() error {
	s.mu.Lock()
	now := s.o.Now()
	due := s.undeleted >= flattenEventsMin && now.Sub(s.flattenedAt).Abs() >= flattenInterval
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.Flatten()
}

// Flatten merges Badger's levels so that the space of deleted events is given back to the file system. It runs beside
// everything else, but writes a memtable full of padding and rewrites most tables: [Store.Run] calls it after large
// deletions, at most every ten minutes. Badger does not merge a store that is all in its first level, so up to four
// memtables of deleted events may stay until there is more.
func (s *Store) Flatten() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.flattenMu.Lock()
	defer s.flattenMu.Unlock()
	s.mu.Lock()
	s.undeleted = 0
	s.flattenedAt = s.o.Now()
	s.mu.Unlock()
	if err := s.flushMemtable(); err != nil {
		return fmt.Errorf("flatten: %w", err)
	}
	if err := s.db.Flatten(1); err != nil {
		return fmt.Errorf("%w: flatten: %w", ErrUnavailable, err)
	}
	return nil
}

// flushMemtable makes Badger write its memtable to a table. Deletions that are still in the memtable are not seen by a
// Flatten, and Badger has no call for this other than filling the memtable up. On a disk too full for that it does
// nothing: traffic will flush the memtable in time.
func (s *Store) flushMemtable() error {
	free, err := disk.Free(s.o.Dir)
	if err != nil || free < 4*s.o.MemTableBytes+max(s.o.OpenFreeMin, 0) {
		return nil //nolint:nilerr // the space comes back later
	}
	before, err := s.memtables()
	if err != nil {
		return err
	}
	padding := make([]byte, paddingBytes)
	for range s.o.MemTableBytes/paddingBytes + 2 {
		err := s.update(func(txn *badger.Txn) error { return set(txn, []byte{prefixPadding}, padding) })
		if err != nil {
			return err
		}
		now, err := s.memtables()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(now, func(name string) bool { return !slices.Contains(before, name) }) {
			break // a new memtable: those from before are on their way to disk
		}
	}
	return s.awaitFlush(before)
}

// awaitFlush waits until the memtables' files are gone, which Badger removes once their table is durable.
func (s *Store) awaitFlush(files []string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(flushWait)
	defer deadline.Stop()
	for {
		now, err := s.memtables()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(now, func(name string) bool { return slices.Contains(files, name) }) {
			return nil
		}
		select {
		case <-deadline.C:
			return nil // what is not flushed now is given back by the next Flatten
		case <-tick.C:
		}
	}
}

func (s *Store) memtables() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(s.o.Dir, "*.mem"))
	if err != nil {
		return nil, fmt.Errorf("list memtables: %w", err)
	}
	return files, nil
}

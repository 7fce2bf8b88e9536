package queue

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Snapshot is the content of a file at one moment. Until Close, the file cannot reuse the pages that belong to the snapshot, so the file
// may grow.
type Snapshot struct{ tx *bolt.Tx }

// Snapshot takes the content as of the last commit. It must not be called during a Commit.
func (f *File) Snapshot() (*Snapshot, error) {
	if f.stuck.Load() {
		return nil, fmt.Errorf("read %s: an earlier read has failed in a way after which the file cannot be read by this process", f.name)
	}
	tx, err := f.db.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.name, err)
	}
	return &Snapshot{tx}, nil
}

// WriteFile writes the content to a new queue file, and syncs it.
func (s *Snapshot) WriteFile(name string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = s.tx.WriteTo(file)
	return errors.Join(err, file.Sync(), file.Close())
}

// Close ends the snapshot.
func (s *Snapshot) Close() error { return s.tx.Rollback() }

package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/disk"
)

// Copy is the content of a store at one moment, to be written to another folder. Until Close, Badger keeps all of this content, even if
// some of it is deleted from the store.
type Copy struct {
	s   *Store
	txn *badger.Txn
}

// BeginCopy returns the content as of the last transaction. The copy can be written while the store is used as usual. The caller must
// close the copy.
func (s *Store) BeginCopy() (*Copy, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	return &Copy{s: s, txn: s.db.NewTransaction(false)}, nil
}

// Close allows Badger to discard the content of the copy.
func (c *Copy) Close() {
	if c.txn != nil {
		c.txn.Discard()
		c.txn = nil
		c.s.leave()
	}
}

// Write creates a store in dir, which must not exist. The new store is in the state in which the process would have left it if the
// process had died during BeginCopy. More objects may have been added to the archive since then, so all epochs of the copy are
// unreconciled: before a process that uses the copy archives anything, it compares the copy with the archive. Write returns the number of
// bytes of keys and values. After an error, the folder is unusable.
func (c *Copy) Write(ctx context.Context, dir string) (bytes int64, err error) {
	if bytes, err = c.write(ctx, dir); err != nil {
		return 0, fmt.Errorf("copy the store to %s: %w", dir, err)
	}
	return bytes, nil
}

func (c *Copy) write(ctx context.Context, dir string) (bytes int64, err error) {
	o := Options{Dir: dir, QuarantineDir: filepath.Join(filepath.Dir(dir), "quarantine"), ReserveBytes: -1, Logger: c.s.o.Logger, RefuseDamaged: true, Now: c.s.o.Now}
	if badgerfiles.Exists(dir) {
		return 0, errors.New("it exists already")
	}
	if err := c.room(filepath.Dir(dir)); err != nil {
		return 0, err
	}
	db, err := badger.Open(badgerfiles.Options(dir, c.s.o.MemTableBytes, c.s.o.Logger).WithSyncWrites(false))
	if err != nil {
		return 0, withErrno(err)
	}
	bytes, err = c.fill(ctx, db)
	if err == nil {
		err = db.Sync()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return 0, withErrno(err)
	}
	crash.Point("store.copy.filled")
	s, err := Open(o) // checks every table, and replays what had not been checkpointed
	if err != nil {
		return 0, err
	}
	err = errors.Join(s.markAllUnreconciled(), s.Close())
	crash.Point("store.copy.after")
	return bytes, err
}

// copySpare is the space in bytes that must be free beyond the size of the store: for Badger's logs, and for files that grow in the
// meantime.
const copySpare = 64 << 20

// room returns an error if the disk does not have enough space. On a full disk, the kernel would kill the process with SIGBUS because
// Badger writes through memory maps.
func (c *Copy) room(dir string) error {
	free, err := disk.Free(dir)
	if err != nil {
		return err
	}
	lsm, vlog := c.s.Size()
	if need := lsm + vlog + copySpare; free < need {
		return fmt.Errorf("%w: %s has %d bytes free, and the copy may need %d", ErrUnavailable, dir, free, need)
	}
	return nil
}

func (c *Copy) fill(ctx context.Context, db *badger.DB) (bytes int64, err error) {
	batch := db.NewWriteBatch()
	defer batch.Cancel()
	err = each(ctx, c.txn, nil, nil, func(key, value []byte) error {
		bytes += int64(len(key) + len(value))
		return batch.Set(append([]byte(nil), key...), append([]byte(nil), value...))
	})
	if err != nil {
		return 0, err
	}
	return bytes, batch.Flush()
}

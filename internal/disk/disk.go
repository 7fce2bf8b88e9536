// Package disk has what several packages do to make files durable, and to see whether there is room for them.
package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// StoreFreeMin is the free space in bytes below which no store is opened: Badger would die of it.
const StoreFreeMin = 8 << 20

// Free returns the bytes that this user may still fill on the filesystem of dir.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // disks are smaller than 2^63
}

// SyncDir makes the entries of a folder durable: files created, renamed or removed in it survive a power cut afterwards.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

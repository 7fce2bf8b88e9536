// Package disk has what several packages do to make files durable.
package disk

import (
	"errors"
	"fmt"
	"os"
)

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

package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wayside-proxy/wayside/internal/disk"
)

// A backup is written to a folder with a temporary name. The folder contains a marker file until everything is on the disk. So a folder
// with the final name is complete, and an incomplete folder is rejected as a data directory, even if someone has renamed it.

// IncompleteSuffix is appended to the name of a backup that is not complete.
const IncompleteSuffix = ".incomplete"

// incompleteFile is the name of the marker file.
const incompleteFile = "backup-incomplete"

const incompleteText = "wayside did not finish this backup. It cannot be used as a data directory. Remove it, and make the backup again.\n"

// CreateIncomplete creates the folder of a backup, with the marker. The folder must not exist.
func CreateIncomplete(dir string) error {
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	name := filepath.Join(dir, incompleteFile)
	return disk.WriteFile(name, name+".tmp", strings.NewReader(incompleteText), 0o640)
}

// RemoveIncomplete removes a folder that CreateIncomplete created, if it exists. It returns an error for a folder without the marker,
// unless the folder is empty.
func RemoveIncomplete(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, incompleteFile))
	switch {
	case err == nil:
		return os.RemoveAll(dir)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists, but is not an incomplete backup: remove it: %w", dir, err)
	}
	return nil
}

// Complete durably removes the marker and gives the folder its final name.
func Complete(partial, dir string) error {
	if err := os.Remove(filepath.Join(partial, incompleteFile)); err != nil {
		return err
	}
	if err := disk.SyncDir(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(dir))
}

// refuseIncomplete returns an error that wraps [ErrUnsafe] for the folder of a backup that is not complete.
func refuseIncomplete(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, incompleteFile)); err == nil {
		return fmt.Errorf("%w: %s is a backup that is not complete; use another backup, or remove this one and make a new one", ErrUnsafe, dir)
	}
	return nil
}

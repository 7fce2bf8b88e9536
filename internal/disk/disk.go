// Package disk makes files and folders durable, copies them, and determines how much disk space is free.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// StoreFreeMin is the free space, in bytes, that is required to open a store. With less, Badger could crash.
const StoreFreeMin = 8 << 20

// InPlace reports whether an open file still has its name.
func InPlace(f *os.File) bool {
	open, err := f.Stat()
	named, err2 := os.Lstat(f.Name())
	return err == nil && err2 == nil && os.SameFile(open, named)
}

// SyncDir makes the entries of a folder durable: afterwards, no power cut can undo the creation, renaming or removal of
// files in it.
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

// WriteFile replaces a file atomically: after a crash or a power cut, the file has either the old content or all of the new content. The
// content is first written to the path temp in the same folder. If a file with that path exists, it is removed rather than overwritten:
// it may come from an earlier attempt, or be a second name of some other file.
func WriteFile(name, temp string, content io.Reader, mode os.FileMode) error {
	_ = os.Remove(temp)
	err := create(temp, content, mode)
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		_ = os.Remove(temp) // frees space on a full disk
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// create creates a file that must not exist yet, writes its content and syncs it.
func create(name string, content io.Reader, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Patterns of the folders that [VerifyCopy] and [ServeCopy] create.
const (
	verifyCopies = ".verify-*"
	serveCopies  = ".serve-*"
)

// VerifyCopy creates a folder for the files that a verification must copy. The caller holds [RunLock] and removes the folder. If the
// process dies first, the next process that takes RunLock removes the folder.
func VerifyCopy(dir string) (string, error) { return os.MkdirTemp(dir, verifyCopies) }

func removeVerifyCopies(dir string) {
	names, _ := filepath.Glob(filepath.Join(GlobEscape(dir), verifyCopies))
	for _, name := range names {
		_ = os.RemoveAll(name) // the next process tries again
	}
}

// ServeCopy creates a folder for the copy of the store from which a command reads, and locks the folder until the returned file is
// closed. The caller holds [CollectLock], if it has permission to take that lock, and removes the folder. If the process dies first, the
// next process that takes CollectLock removes the folder.
func ServeCopy(dir string) (at string, held *os.File, err error) {
	if at, err = os.MkdirTemp(dir, serveCopies); err != nil {
		return "", nil, err
	}
	if held, err = lockFolder(at); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(at))
	}
	return at, held, nil
}

// lockFolder locks a folder until the file is closed. It fails if another process has locked it.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, RunLock), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func removeServeCopies(dir string) {
	names, _ := filepath.Glob(filepath.Join(GlobEscape(dir), serveCopies))
	for _, name := range names {
		if f, err := lockFolder(name); err == nil { // no command is using it
			_, _ = os.RemoveAll(name), f.Close() // the next process tries again
		}
	}
}

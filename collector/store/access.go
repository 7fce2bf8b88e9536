package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkAccess looks whether this process may open every file of the store: a command that another user ran may have left some that it may
// not. Badger's error would not always say so, and look like damage. The error wraps [ErrUnavailable].
func checkAccess(dir string) error {
	const file = unix.R_OK | unix.W_OK
	if err := mayOpen(dir, file|unix.X_OK); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		if err := mayOpen(filepath.Join(dir, entry.Name()), file); err != nil {
			return err
		}
	}
	return nil
}

func mayOpen(name string, mode uint32) error {
	err := unix.Faccessat(unix.AT_FDCWD, name, mode, unix.AT_EACCESS)
	if !errors.Is(err, fs.ErrPermission) {
		return nil // missing, or of a read-only file system: whoever opens it says so
	}
	uid := os.Geteuid()
	if info, statErr := os.Lstat(name); statErr == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return fmt.Errorf("%w: cannot open %s: it belongs to uid %d (mode %#o), and this is uid %d: %w; chown -R %d %s",
				ErrUnavailable, name, st.Uid, info.Mode().Perm(), uid, err, uid, filepath.Dir(name))
		}
	}
	return fmt.Errorf("%w: cannot open %s as uid %d: %w", ErrUnavailable, name, uid, err)
}

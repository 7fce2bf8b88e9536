package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Filesystem describes a filesystem.
type Filesystem struct {
	Type      int64  // see statfs(2)
	Bytes     int64  // its size
	FreeBytes int64  // bytes that are available to this user
	Files     uint64 // maximum number of files; 0 if there is no such limit
	FreeFiles uint64 // number of files that can still be created; meaningless if Files is 0
}

// FilesystemOf returns the filesystem that contains dir.
func FilesystemOf(dir string) (Filesystem, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Filesystem{}, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return Filesystem{
		Type: int64(st.Type), Bytes: int64(st.Blocks) * st.Frsize, FreeBytes: int64(st.Bavail) * st.Frsize, //nolint:unconvert // 32 bits elsewhere
		Files: st.Files, FreeFiles: st.Ffree,
	}, nil
}

// Free returns the number of bytes that are available to this user on the filesystem of dir.
func Free(dir string) (int64, error) {
	fs, err := FilesystemOf(dir)
	return fs.FreeBytes, err
}

// Existing returns dir as an absolute path or, if dir does not exist, the nearest folder above it that exists. The result is empty if
// dir is relative and the working directory has been removed.
func Existing(dir string) string {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if _, missing := os.Stat(dir); missing == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// SyncFilesystem makes everything durable that has been written to the filesystem of dir.
func SyncFilesystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync filesystem: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(d.Fd())), d.Close()); err != nil {
		return fmt.Errorf("sync the filesystem of %s: %w", dir, err)
	}
	return nil
}

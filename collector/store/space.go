package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wayside-proxy/wayside/internal/disk"
	"golang.org/x/sys/unix"
)

// ensureFree refuses to open a store on a full disk, where Badger would die of a write to a mapped page: no error and no
// recover helps against that. The reserve file is given up first.
func ensureFree(o *Options) error {
	if o.OpenFreeMin < 0 {
		return nil
	}
	dir := filepath.Dir(o.Dir)
	free, err := disk.Free(dir)
	if err == nil && free < o.OpenFreeMin && dropReserve(o) {
		free, err = disk.Free(dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if free < o.OpenFreeMin {
		return fmt.Errorf("%w: %d bytes free in %s, at least %d are needed: %w",
			ErrUnavailable, free, dir, o.OpenFreeMin, syscall.ENOSPC)
	}
	return nil
}

func reserveName(o *Options) string { return filepath.Join(filepath.Dir(o.Dir), "reserve") }

// dropReserve gives the reserve file's space back. It reports false if there was none.
func dropReserve(o *Options) bool {
	if err := os.Remove(reserveName(o)); err != nil {
		return false
	}
	o.Logger.Warn("store: the disk is full; the reserve file was given up", "bytes", o.ReserveBytes)
	return true
}

// keepReserve makes the reserve file, with real blocks, if it is missing and there is plenty of space for it.
func (s *Store) keepReserve() {
	name := reserveName(&s.o)
	if s.o.ReserveBytes <= 0 {
		return
	}
	if info, err := os.Stat(name); err == nil && info.Size() >= s.o.ReserveBytes {
		return
	}
	free, err := disk.Free(filepath.Dir(name))
	if err != nil || free < 4*s.o.ReserveBytes+max(s.o.OpenFreeMin, 0) {
		return
	}
	if err := allocate(name, s.o.ReserveBytes); err != nil {
		s.o.Logger.Warn("store: the reserve file could not be made", "file", name, "error", err)
	}
}

// allocate makes a file whose blocks are really taken.
func allocate(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size) //nolint:gosec // a file descriptor
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = f.WriteAt(make([]byte, size), 0)
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// Size is the disk space in bytes that the store's tables (with their logs) and its value log take. Files that are mapped
// are larger than the blocks they occupy; the blocks are what is counted.
func (s *Store) Size() (lsm, vlog int64) {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return 0, 0
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.o.Logger.Debug("store: size", "error", err)
			}
			continue // removed by a compaction meanwhile
		}
		taken := info.Size()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			taken = st.Blocks * 512
		}
		if strings.HasSuffix(entry.Name(), ".vlog") {
			vlog += taken
		} else {
			lsm += taken
		}
	}
	return lsm, vlog
}

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sys/unix"
)

// Badger passes over a block of a table that fails its checksum as if it were not there, in Get and in iterators alike: a
// watermark would be missing and its events be applied again, a row begin anew, and no call would return an error. So tables
// are checked here: all of them before the store is opened, and by Verify.

// checkTables checks every table that the MANIFEST of a folder lists; others may have been half written when the process
// died. The error wraps [ErrDamaged].
func checkTables(dir string) error {
	listed, err := listedTables(dir)
	if err != nil {
		return err
	}
	ids := make(chan uint64, len(listed))
	for id := range listed {
		ids <- id
	}
	close(ids)
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range min(checkWorkersMax, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for id := range ids {
				if failed.Load() != nil {
					return
				}
				if err := checkTable(table.NewFilename(id, dir)); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// checkLogs looks for a damaged log that is not the last. Badger cuts a log off where it is damaged and then replays the later
// ones, which may build on what is gone; the last one it may cut: that is the store of a moment before.
func checkLogs(dir string) error {
	names := logFiles(dir)
	for _, name := range names[:max(0, len(names)-1)] {
		body, err := os.ReadFile(name) //nolint:gosec // a file of the store
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if end, whole := logEnd(body); !whole {
			return fmt.Errorf("%w: log %s is damaged behind byte %d, and a later one goes on", ErrDamaged, filepath.Base(name), end)
		}
	}
	return nil
}

// logFiles lists the logs of Badger's memtables, the oldest first.
func logFiles(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.mem")) // the pattern is a constant
	slices.Sort(names)
	return names
}

// checkWorkersMax bounds the tables that are read at a time, before there is anything else to do.
const checkWorkersMax = 4

// verifyTables checks the tables of the open store. One that a compaction removes meanwhile needs no check any more: Badger
// cuts its file to nothing before it removes it.
func (s *Store) verifyTables() error {
	for _, t := range s.db.Tables() {
		err := checkTable(table.NewFilename(t.ID, s.o.Dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && s.hasTable(t.ID) {
			return err
		}
	}
	return nil
}

func (s *Store) hasTable(id uint64) bool {
	return slices.ContainsFunc(s.db.Tables(), func(t badger.TableInfo) bool { return t.ID == id })
}

// checkTable reads one table from its first block to its last.
func checkTable(name string) (err error) {
	old := debug.SetPanicOnFault(true) // a table that was cut off while it is mapped
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: table %s: %v", ErrDamaged, filepath.Base(name), cause)
		}
		debug.SetPanicOnFault(old)
	}()
	t, err := openTable(name)
	if errors.Is(err, fs.ErrNotExist) {
		return err // the caller looks for this
	}
	if err != nil {
		return fmt.Errorf("%w: table %s: %w", ErrDamaged, filepath.Base(name), err)
	}
	// Read at once, not page by page: half the time where the pages are not in memory. A hint, which may be refused.
	_ = unix.Madvise(t.Data, unix.MADV_WILLNEED)
	err = t.VerifyChecksum()
	if closeErr := t.Close(-1); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%w: table %s: %w", ErrDamaged, filepath.Base(name), err)
	}
	return nil
}

// openTable opens a table of Badger's, which the caller closes. Where Badger fails at it, or panics, it leaves the file mapped.
func openTable(name string) (t *table.Table, err error) {
	if _, ok := table.ParseFileID(filepath.Base(name)); !ok { // Badger would close the file itself
		return nil, fmt.Errorf("%s: not the name of a table", name)
	}
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	opened := false
	defer func() {
		if !opened {
			_ = file.Close(-1)
		}
	}()
	t, err = table.OpenTable(file, table.Options{ChkMode: options.OnBlockRead, BlockSize: 4 << 10})
	opened = err == nil
	return t, err //nolint:wrapcheck // names the file
}

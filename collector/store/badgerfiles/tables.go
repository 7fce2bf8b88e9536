package badgerfiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/collector/store/storeerr"
	"github.com/wayside-proxy/wayside/internal/memfault"
)

const (
	tableBlockBytes = 4 << 10
	// checkWorkersMax bounds the tables that are read in parallel before the store is open.
	checkWorkersMax = 4
)

// CheckTables checks every table that the MANIFEST of a folder lists; others may be half written, because the process died meanwhile. The
// error wraps storeerr.ErrDamaged.
//
// Badger (4.9.6) treats a block of a table that fails its checksum as if it were absent, in Get and in iterators alike. A watermark would
// be missing and its events be applied again, and no call would return an error.
func CheckTables(dir string) error {
	listed, err := listedTables(dir)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(min(checkWorkersMax, runtime.GOMAXPROCS(0)))
	for id := range listed {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err // another table is damaged; Wait returns that error
			}
			return CheckTable(table.NewFilename(id, dir))
		})
	}
	return group.Wait()
}

// CheckOpenTables checks the tables of an open folder. A table that a compaction removes meanwhile needs no check: Badger cuts its file to
// nothing before it removes it.
func CheckOpenTables(db *badger.DB, dir string) error {
	for _, t := range db.Tables() {
		err := CheckTable(table.NewFilename(t.ID, dir))
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if slices.ContainsFunc(db.Tables(), func(now badger.TableInfo) bool { return now.ID == t.ID }) {
			return err
		}
	}
	return nil
}

// CheckTable reads one table from its first block to its last. The error wraps storeerr.ErrDamaged, or fs.ErrNotExist.
func CheckTable(name string) error {
	return withTable(name, func(t *table.Table) error {
		// Read ahead, not page by page: that halves the time if the pages are not in memory. The kernel may refuse this hint.
		_ = unix.Madvise(t.Data, unix.MADV_WILLNEED)
		return t.VerifyChecksum()
	})
}

// ReadTable calls fn with a function that walks the keys of a table with a prefix, until its own callback returns false. A key comes once
// for each version, the newest version first. Slices are valid during the call.
func ReadTable(name string, fn func(walk func(prefix byte, fn func(key, value []byte) (more bool)))) error {
	return withTable(name, func(t *table.Table) error {
		it := t.NewIterator(table.NOCACHE)
		defer func() { _ = it.Close() }()
		fn(func(prefix byte, fn func(key, value []byte) bool) {
			for it.Seek(y.KeyWithTs([]byte{prefix}, ^uint64(0))); it.Valid(); it.Next() {
				key := y.ParseKey(it.Key())
				if len(key) == 0 || key[0] != prefix || !fn(key, it.Value().Value) {
					return
				}
			}
		})
		return nil
	})
}

// withTable opens a table for fn. Badger panics over some kinds of damage, and a table that is cut off while it is mapped faults: both
// become errors.
func withTable(name string, fn func(*table.Table) error) error {
	err := memfault.CatchError(func() error {
		t, err := openTable(name)
		if err != nil {
			return err
		}
		err = fn(t)
		return errors.Join(err, t.Close(-1))
	})
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: table %s: %w", storeerr.ErrDamaged, filepath.Base(name), err)
}

// openTable opens a table, which the caller closes. If Badger fails to open it, or panics, Badger leaves the file mapped.
func openTable(name string) (t *table.Table, err error) {
	if _, ok := table.ParseFileID(filepath.Base(name)); !ok { // Badger would close the file itself
		return nil, fmt.Errorf("%s: not the name of a table", name)
	}
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	opened := false
	defer func() {
		if !opened {
			_ = file.Close(-1)
		}
	}()
	t, err = table.OpenTable(file, table.Options{ChkMode: options.OnBlockRead, BlockSize: tableBlockBytes})
	opened = err == nil
	return t, err
}

// TableNames are the tables that a folder must have now, as far as its MANIFEST can be read. The folder may be open in another process.
func TableNames(dir string) (names []string) {
	listed, _ := listedTables(dir)
	for id := range listed {
		names = append(names, table.IDToFilename(id))
	}
	return names
}

// LinkOrphans keeps every table that the MANIFEST does not list as a link in another folder: Badger deletes such tables when it opens the
// folder. It reports whether that other folder exists, now or since an earlier attempt.
func LinkOrphans(dir, to string) (bool, error) {
	names, _ := filepath.Glob(filepath.Join(dir, "*.sst")) // the pattern is a constant
	if len(names) == 0 {
		return Exists(to), nil
	}
	listed, err := listedTables(dir)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		id, ok := table.ParseFileID(filepath.Base(name))
		if _, known := listed[id]; known || !ok {
			continue
		}
		err := os.MkdirAll(to, 0o750)
		if err == nil {
			err = os.Link(name, filepath.Join(to, filepath.Base(name)))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("%w: keep orphaned tables: %w", storeerr.ErrUnavailable, err)
		}
	}
	return Exists(to), nil
}

// listedTables reads the MANIFEST. One that is missing or damaged lists what could be read of it.
func listedTables(dir string) (map[uint64]badger.TableManifest, error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storeerr.ErrUnavailable, err)
	}
	defer func() { _ = f.Close() }()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil, nil
	}
	return manifest.Tables, nil
}

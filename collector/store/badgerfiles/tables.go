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
	// checkWorkersMax limits the number of tables that are read in parallel before the store is open.
	checkWorkersMax = 4
)

// CheckTables checks every table that the MANIFEST of a folder lists. It skips other tables: they may be incomplete, because a process
// may have died while it was writing them. The error wraps storeerr.ErrDamaged.
//
// Badger (4.9.6) treats a table block that fails its checksum as if it were absent, in Get and in iterators alike. So a watermark could
// be missing, and the events below that watermark could be applied again, without any call returning an error.
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
				return err // another table was damaged first; Wait returns that error
			}
			return CheckTable(table.NewFilename(id, dir))
		})
	}
	return group.Wait()
}

// CheckOpenTables checks the tables of an open folder. It skips tables that a compaction removes in the meantime; Badger truncates the
// file of such a table to zero before it removes the file.
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
		// Reading ahead halves the time if the pages are not in memory. The kernel may ignore this hint.
		_ = unix.Madvise(t.Data, unix.MADV_WILLNEED)
		return t.VerifyChecksum()
	})
}

// ReadTable calls fn with a function, walk. walk visits the keys of the table that have a given prefix, until its callback returns false.
// A key occurs once for each version, newest first. The slices are only valid during the call.
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

// withTable opens a table for fn. Badger panics on some kinds of damage, and accessing a table that is truncated while it is mapped
// causes a fault. withTable returns both as errors.
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

// openTable opens a table, which the caller must close. If Badger fails or panics while opening a table, it leaves the
// file mapped.
func openTable(name string) (t *table.Table, err error) {
	if _, ok := table.ParseFileID(filepath.Base(name)); !ok { // if the name has no file ID, Badger closes the file itself
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

// TableNames returns the names of the tables that a folder must currently have, according to the readable part of its MANIFEST. The
// folder may be open in another process.
func TableNames(dir string) (names []string) {
	listed, _ := listedTables(dir)
	for id := range listed {
		names = append(names, table.IDToFilename(id))
	}
	return names
}

// LinkOrphans saves every table that the MANIFEST does not list by linking it into another folder, because Badger deletes such tables
// when it opens the folder. It reports whether that other folder exists; this call or an earlier one may have created it.
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

// listedTables reads the MANIFEST. If the file ends early, the result has the tables listed up to there; if the file is missing or cannot
// be parsed, the result is empty.
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

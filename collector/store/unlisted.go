package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/google/uuid"
)

// Badger deletes the tables that its MANIFEST does not list, and it takes a MANIFEST that was cut off for a shorter one. A
// crash leaves such tables too: those that were being written, whose content is still in a log, and those that a compaction
// had replaced. The two are told apart by what the store holds once it is open; until then the tables are kept as links.

// unlistedDir is where tables that the MANIFEST does not list are kept while the store is opened.
func unlistedDir(o *Options) string { return o.Dir + ".unlisted" }

// keepUnlisted links every table that Badger would delete, and reports whether there is any.
func keepUnlisted(o *Options) (bool, error) {
	names, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil || len(names) == 0 {
		return exists(unlistedDir(o)), err
	}
	listed, err := listedTables(o.Dir)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		id, ok := table.ParseFileID(filepath.Base(name))
		if _, known := listed[id]; known || !ok {
			continue
		}
		if err := os.MkdirAll(unlistedDir(o), 0o750); err != nil {
			return false, fmt.Errorf("%w: keep unlisted tables: %w", ErrUnavailable, err)
		}
		if err := os.Link(name, filepath.Join(unlistedDir(o), filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("%w: keep unlisted tables: %w", ErrUnavailable, err)
		}
	}
	return exists(unlistedDir(o)), nil
}

// Tables are the names of the tables that a store in dir must have now, as far as its MANIFEST can be read. The store may be open in
// another process.
func Tables(dir string) (names []string) {
	listed, _ := listedTables(dir)
	for id := range listed {
		names = append(names, table.IDToFilename(id))
	}
	return names
}

// listedTables reads the MANIFEST; one that is missing or damaged lists what could be read of it.
func listedTables(dir string) (map[uint64]badger.TableManifest, error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = f.Close() }()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil, nil //nolint:nilerr // Badger will say so itself, and the tables are kept until then
	}
	return manifest.Tables, nil
}

// missesUnlisted looks, in a store that has just been opened, for signs that a table which was not listed belonged to it: a
// state in the table that is beyond the store's, an epoch that the store does not know, or rows that do not add up. The error
// wraps ErrDamaged.
func (s *Store) missesUnlisted() error {
	names, err := filepath.Glob(filepath.Join(unlistedDir(&s.o), "*.sst"))
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, name := range names {
		found, lacking, err := s.compareUnlisted(name)
		if err != nil {
			s.o.Logger.Debug("store: an unlisted table cannot be read", "file", name, "error", err)
			continue // being written when the process ended; were it more, the sums below would not be right
		}
		if found.lastBatch > s.state.lastBatch || found.nextPlan > s.state.nextPlan || found.ledgers > s.state.ledgers {
			return fmt.Errorf("%w: table %s is not in the MANIFEST and holds batch %d, the store ends at %d",
				ErrDamaged, filepath.Base(name), found.lastBatch, s.state.lastBatch)
		}
		if lacking != "" {
			return fmt.Errorf("%w: table %s is not in the MANIFEST and holds %s, which the store lacks", ErrDamaged, filepath.Base(name), lacking)
		}
	}
	totals, sum, err := s.Account(context.Background())
	if err == nil && totals.Applied != sum {
		err = fmt.Errorf("%w: %d tables are not in the MANIFEST, and without them the rows add up to %d of %d", ErrDamaged, len(names), sum, totals.Applied)
	}
	return err
}

// compareUnlisted returns the newest state that a table holds, zero if none, and what it says of an epoch that the store does not
// have at all. Watermarks and ledgers are removed only when an epoch is added to the sum of the oldest ones.
func (s *Store) compareUnlisted(name string) (found state, lacking string, err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: table %s: %v", ErrDamaged, filepath.Base(name), cause)
		}
		debug.SetPanicOnFault(old)
	}()
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return state{}, "", err //nolint:wrapcheck // names the file
	}
	t, err := table.OpenTable(file, table.Options{ChkMode: options.OnBlockRead, BlockSize: 16 << 10})
	if err != nil {
		return state{}, "", err //nolint:wrapcheck // names the file
	}
	defer func() { _ = t.Close(-1) }()
	it := t.NewIterator(table.NOCACHE)
	defer func() { _ = it.Close() }()
	walk := func(prefix byte, fn func(key []byte, value y.ValueStruct) (more bool)) {
		for it.Seek(y.KeyWithTs([]byte{prefix}, ^uint64(0))); it.Valid(); it.Next() {
			key := y.ParseKey(it.Key())
			if len(key) == 0 || key[0] != prefix || !fn(key, it.Value()) {
				return
			}
		}
	}
	walk(prefixState, func(_ []byte, v y.ValueStruct) bool { // versions descend
		found, err = decodeState(v.Value)
		return err != nil
	})
	if _, summed := s.ledgers[uuid.Nil]; summed {
		return found, "", nil // epochs have been added to the sum and removed since
	}
	for prefix, known := range map[byte]func(uuid.UUID) bool{
		prefixWatermark: func(epoch uuid.UUID) bool { _, ok := s.watermarks[epoch]; return ok },
		prefixLedger:    func(epoch uuid.UUID) bool { _, ok := s.ledgers[epoch]; return ok },
	} {
		walk(prefix, func(key []byte, _ y.ValueStruct) bool {
			if epoch, err := uuid.FromBytes(key[1:]); err == nil && !known(epoch) {
				lacking = "epoch " + epoch.String()
			}
			return lacking == ""
		})
	}
	return found, lacking, nil
}

// dropUnlisted forgets the kept tables of a store that is whole without them.
func dropUnlisted(o *Options) error {
	if err := os.RemoveAll(unlistedDir(o)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

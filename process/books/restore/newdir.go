package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

const (
	ledgersFile = datadir.StoreDir + ".ledgers"
	buildingDir = datadir.StoreDir + ".building" // within the data directory, because rename does not work across volumes
)

// newDataDir creates a store in a separate folder and moves it into the data directory after fill has succeeded, so an incomplete store
// is never used. The directory may have other contents, such as an archive or a spool, but no store. A lock prevents a books process from
// creating a store there in the meantime.
func newDataDir(dir string, fill func(*store.Store) error) (err error) {
	if err := datadir.Create(dir); err != nil {
		return err
	}
	if err := datadir.CheckUser(dir); err != nil {
		return err
	}
	lock, err := datadir.Acquire(dir, datadir.CollectLock)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	if _, err := os.Lstat(filepath.Join(dir, datadir.StoreDir)); err == nil {
		return fmt.Errorf("%s already contains a store: name another directory", dir)
	}
	building := filepath.Join(dir, buildingDir)
	if err := os.RemoveAll(building); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(building)) }()
	if err := datadir.Create(building); err != nil {
		return err
	}
	s, err := store.Open(store.Options{Dir: filepath.Join(building, datadir.StoreDir), QuarantineDir: filepath.Join(building, datadir.Quarantine)})
	if err != nil {
		return err
	}
	if err := errors.Join(fill(s), s.Close()); err != nil {
		return err
	}
	return moveIn(dir, building)
}

// moveIn moves a new store and the files that belong to it into a data directory without a store. It moves the store last: if it fails before
// that, the next attempt starts from the beginning.
func moveIn(dir, building string) error {
	entries, err := os.ReadDir(building)
	if err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(dir, e.Name())
		if _, err := os.Lstat(to); err == nil || e.Name() == datadir.StoreDir || e.Name() == ledgersFile {
			continue // the new folder's own lock or quarantine, or a file that is moved below
		}
		if err := os.Rename(filepath.Join(building, e.Name()), to); err != nil {
			return err
		}
	}
	// Ledgers from an earlier store in this directory do not belong to the new one. Replace or remove them.
	err = os.Rename(filepath.Join(building, ledgersFile), filepath.Join(dir, ledgersFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(filepath.Join(dir, ledgersFile))
	}
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(building, datadir.StoreDir), filepath.Join(dir, datadir.StoreDir))
}

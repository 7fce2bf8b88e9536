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
	buildingDir = datadir.StoreDir + ".building" // in the data directory, which may be a volume: nothing is renamed out of or into one
)

// newDataDir makes a store aside and moves it into the data directory when fill has succeeded, so that one that was broken
// off is never taken for whole. The directory may hold other things, such as an archive or a spool, but no store; no books process
// can begin one meanwhile.
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
		return fmt.Errorf("%s holds a store already: name another directory", dir)
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

// moveIn moves a new store and what belongs to it into a data directory without one. The store is the last: until then the next
// rebuild begins again.
func moveIn(dir, building string) error {
	entries, err := os.ReadDir(building)
	if err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(dir, e.Name())
		if _, err := os.Lstat(to); err == nil || e.Name() == datadir.StoreDir || e.Name() == ledgersFile {
			continue // a lock or a quarantine that was there; or its turn comes
		}
		if err := os.Rename(filepath.Join(building, e.Name()), to); err != nil {
			return err
		}
	}
	// Ledgers of a store that was here before are not of the one that comes, whose own take their place.
	err = os.Rename(filepath.Join(building, ledgersFile), filepath.Join(dir, ledgersFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(filepath.Join(dir, ledgersFile))
	}
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(building, datadir.StoreDir), filepath.Join(dir, datadir.StoreDir))
}

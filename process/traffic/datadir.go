package traffic

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// retryInterval is the time between two attempts to lock the data directory.
const retryInterval = time.Second

// dataDir is the data directory, whether or not this process can currently use it. Traffic comes before the books: a directory that
// cannot be written does not stop the process. The process keeps trying, and counts every response that it cannot record.
type dataDir struct {
	path     string
	log      *slog.Logger
	describe func() datadir.Info // returns the content of run.json
	hadStore bool                // whether the directory has, or may have, a store from earlier runs
	fresh    bool                // whether the directory had nothing from earlier runs when this process started

	mu     sync.Mutex    // held while locking the directory and writing run.json
	lock   *datadir.Lock // guarded by mu; nil until the directory can be locked
	locked chan struct{} // closed when lock has been acquired
}

// openDataDir locks the data directory. It fails only for reasons that do not disappear on their own: another process has locked the
// directory, the directory is not safe to use, or the path is that of a file.
func openDataDir(path string, log *slog.Logger) (*dataDir, error) {
	d := &dataDir{path: path, log: log, hadStore: hasStore(path), locked: make(chan struct{})}
	foreign := datadir.Foreign(path)
	err := d.acquireLocked()
	if errors.Is(err, datadir.ErrInUse) || errors.Is(err, datadir.ErrUnsafe) || errors.Is(err, syscall.ENOTDIR) {
		return nil, err
	}
	if err != nil {
		log.Error("cannot keep the books; traffic is served, and each unrecorded response is counted as dropped; wayside will try again",
			"error", err)
		return d, nil
	}
	d.fresh = !d.hadStore && !hasSpools(path)
	if foreign != "" {
		log.Warn("the data directory is not empty and was not made by wayside: wayside adds its files to it; to use another one, set --data",
			"data", path, "holds", foreign)
	}
	return d, nil
}

// acquireLocked locks the directory, unless that is already done. The caller must hold mu, or be the only one with access to d.
func (d *dataDir) acquireLocked() error {
	if d.lock != nil {
		return nil
	}
	if err := datadir.Create(d.path); err != nil {
		return err
	}
	lock, err := datadir.Acquire(d.path, datadir.RunLock)
	if err != nil {
		return err
	}
	d.lock = lock
	close(d.locked)
	return nil
}

// publish locks the directory, unless that is already done, and writes run.json, through which other commands find this process.
func (d *dataDir) publish() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.acquireLocked(); err != nil {
		return err
	}
	return datadir.WriteInfo(d.path, d.describe())
}

// update writes run.json again if the directory is locked, because other commands read the archive's URL from it.
func (d *dataDir) update() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil
	}
	return datadir.WriteInfo(d.path, d.describe())
}

// retry calls publish until it succeeds or ctx is done: a disk that was full or read-only when wayside started may become usable.
func (d *dataDir) retry(ctx context.Context) {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for inUse := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.publish()
		if err == nil {
			d.log.Info("other commands can now find this process by its data directory", "data", d.path)
			return
		}
		if errors.Is(err, datadir.ErrInUse) && !inUse {
			inUse = true
			d.log.Error("data directory is writable again, but another process has locked it; wayside will try again", "error", err)
		}
	}
}

// await waits until the directory is locked. Until then, no books process can open it either. It returns false if ctx is done first.
func (d *dataDir) await(ctx context.Context) bool {
	select {
	case <-d.locked:
		return true
	case <-ctx.Done():
		return false
	}
}

// inPlace reports whether the path is still that of the directory that is locked.
func (d *dataDir) inPlace() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lock == nil || d.lock.InPlace()
}

func (d *dataDir) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return
	}
	datadir.RemoveInfo(d.path)
	if err := d.lock.Release(); err != nil {
		d.log.Warn("cannot release the lock of the data directory; the lock ends with this process", "error", err)
	}
}

// logFresh logs that the directory contains no earlier books, because a directory whose volume is not mounted or was wiped looks like a
// new one. archive is the path of the local archive, or empty if there is none.
func (d *dataDir) logFresh(archive string) {
	if !d.fresh {
		return
	}
	if objects, _ := filepath.Glob(filepath.Join(datadir.GlobEscape(archive), "v1", "dt=*")); archive != "" && len(objects) > 0 {
		d.log.Warn("the data directory is new or was emptied: starting new books, although the archive contains objects; wayside archive rebuild can recover the statistics of those objects",
			"data", d.path, "archive", archive)
		return
	}
	d.log.Info("the data directory is new or was emptied: starting new books", "data", d.path)
}

// hasStore reports whether the data directory has, or may have, a store from earlier runs.
func hasStore(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, datadir.StoreDir))
	return len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

// hasSpools reports whether the data directory has the spool of an earlier traffic process.
func hasSpools(dir string) bool {
	spools, _ := filepath.Glob(filepath.Join(datadir.GlobEscape(dir), datadir.SpoolDir+"*"))
	return len(spools) > 0
}

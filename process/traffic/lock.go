package traffic

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// retryInterval is the time between two tries to lock the data directory.
const retryInterval = time.Second

// describe is what run.json says of this process under the configuration in effect.
func (t *traffic) describe() datadir.Info {
	now := t.now.Load()
	return datadir.Info{
		PID: os.Getpid(), Version: t.version, Started: t.started,
		Listen: t.trafficLn.Addr().String(), Admin: "http://" + reachable(t.adminLn.Addr()),
		Upstream: now.Upstream, Archive: now.ArchiveURL(), Epoch: t.spool.Epoch().String(),
	}
}

// reachable is a listener's address as one on this machine connects to it: none connects to "all addresses".
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}

// rewriteInfo brings run.json up to date if the data directory is this process's: other commands read the archive that it
// names.
func (t *traffic) rewriteInfo() error {
	t.lockMu.Lock()
	defer t.lockMu.Unlock()
	if t.lock == nil {
		return nil
	}
	return datadir.WriteInfo(t.cfg.Data.Dir, t.describe())
}

// lockDataDir makes the data directory this process's, unless it is already, and writes into run.json how to find the process.
func (t *traffic) lockDataDir() error {
	t.lockMu.Lock()
	defer t.lockMu.Unlock()
	dir := t.cfg.Data.Dir
	if t.lock == nil {
		if err := datadir.Create(dir); err != nil {
			return err
		}
		lock, err := datadir.Acquire(dir, datadir.RunLock)
		if err != nil {
			return err
		}
		t.lock = lock
		close(t.locked)
	}
	return datadir.WriteInfo(dir, t.describe())
}

// awaitLock waits until the data directory is this process's: before, a books process could not open it either. It reports false if ctx
// is done first.
func (t *traffic) awaitLock(ctx context.Context) bool {
	select {
	case <-t.locked:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryLock tries to lock the data directory until that succeeds or ctx is done: a disk that was full or read-only at the
// start need not stay so. A separately started books process can connect from then on.
func (t *traffic) retryLock(ctx context.Context) {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for taken := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := t.lockDataDir()
		if err == nil {
			break
		}
		if errors.Is(err, datadir.ErrInUse) && !taken {
			taken = true
			t.log.Error("data directory is writable again, but another process has locked it", "error", err)
		}
	}
	t.log.Info("other commands find this process by its data directory now", "data", t.cfg.Data.Dir)
	t.serveCollect(ctx)
}

// openData takes the data directory's lock. A directory that cannot be written does not stop traffic: the first promise
// stands above the books, so its trouble is logged and every unrecorded response is counted.
func (t *traffic) openData() error {
	dir := t.cfg.Data.Dir
	t.accounts.HadStore = hasStore(dir)
	foreign := datadir.Foreign(dir)
	err := datadir.Create(dir)
	if err == nil {
		t.lock, err = datadir.Acquire(dir, datadir.RunLock)
	}
	if errors.Is(err, datadir.ErrInUse) || errors.Is(err, datadir.ErrUnsafe) || errors.Is(err, syscall.ENOTDIR) {
		return err // the last is a mistyped --data, which no later moment heals
	}
	if t.lock != nil {
		close(t.locked)
	}
	t.newBooks = err == nil && !t.accounts.HadStore && !hasSpools(dir)
	if foreign != "" && err == nil {
		t.log.Warn("the data directory is not empty, and not made by wayside: its files come beside what is there; if that is not meant, name another with --data",
			"data", dir, "holds", foreign)
	}
	if err != nil {
		t.log.Error("the books cannot be kept; traffic is served and each unrecorded response is counted as dropped", "error", err)
	}
	return nil
}

func (t *traffic) closeData() {
	if t.lock == nil {
		return
	}
	datadir.RemoveInfo(t.cfg.Data.Dir)
	if err := t.lock.Release(); err != nil {
		t.log.Warn("release data directory", "error", err)
	}
}

// hasStore reports whether the data directory has, or may have, a store of earlier runs.
func hasStore(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, datadir.StoreDir))
	return len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

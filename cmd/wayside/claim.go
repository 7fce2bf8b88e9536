package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// claimInterval lies between two tries to claim the data directory.
const claimInterval = time.Second

// describe is what run.json says of this process under the configuration in effect.
func (t *traffic) describe() datadir.Info {
	now := t.now.Load()
	return datadir.Info{
		PID: os.Getpid(), Version: version, Started: t.started,
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
	t.claiming.Lock()
	defer t.claiming.Unlock()
	if t.lock == nil {
		return nil
	}
	return datadir.WriteInfo(t.cfg.Data.Dir, t.describe())
}

// claim makes the data directory this process's, as far as it is not, and says in run.json how to find it.
func (t *traffic) claim() error {
	t.claiming.Lock()
	defer t.claiming.Unlock()
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
		close(t.claimed)
	}
	return datadir.WriteInfo(dir, t.describe())
}

// awaitClaim waits until the data directory is this process's: before, a books process could not open it either. It reports false if ctx
// is done first.
func (t *traffic) awaitClaim(ctx context.Context) bool {
	select {
	case <-t.claimed:
		return true
	case <-ctx.Done():
		return false
	}
}

// keepClaiming tries to claim the data directory until that succeeds or ctx is done: a disk that was full or read-only at the
// start need not stay so. A separately started books process can connect from then on.
func (t *traffic) keepClaiming(ctx context.Context) {
	tick := time.NewTicker(claimInterval)
	defer tick.Stop()
	for taken := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := t.claim()
		if err == nil {
			break
		}
		if errors.Is(err, datadir.ErrInUse) && !taken {
			taken = true
			t.log.Error("the data directory can be used again, and another process has it by now", "error", err)
		}
	}
	t.log.Info("other commands find this process by its data directory now", "data", t.cfg.Data.Dir)
	t.beginCollect(ctx)
}

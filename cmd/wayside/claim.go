package main

import (
	"context"
	"errors"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// claimInterval lies between two tries to claim the data directory.
const claimInterval = time.Second

// claim makes the data directory this process's, as far as it is not, and says in run.json how to find it.
func (t *traffic) claim(info datadir.Info) error {
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
	}
	return datadir.WriteInfo(dir, info)
}

// keepClaiming tries to claim the data directory until that succeeds or ctx is done: a disk that was full or read-only at the
// start need not stay so. A separately started books process can connect from then on.
func (t *traffic) keepClaiming(ctx context.Context, info datadir.Info) {
	tick := time.NewTicker(claimInterval)
	defer tick.Stop()
	for taken := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := t.claim(info)
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

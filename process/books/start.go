package books

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/link"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/memlimit"
	"github.com/wayside-proxy/wayside/internal/supervise"
	"github.com/wayside-proxy/wayside/process"
	"github.com/wayside-proxy/wayside/spool"
)

// LoggedError is an error that has already been logged.
type LoggedError struct{ error }

// Unwrap returns the error that has been logged.
func (e *LoggedError) Unwrap() error { return e.error }

// RunInherited runs the books process as a child of `wayside run`. It ignores signals from the terminal, because the parent also gets
// them, and closes the channels when the books process must stop.
func RunInherited(ctx context.Context, version string, logTo io.Writer) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	handover := os.NewFile(supervise.ConfigFD, "config")
	cfg, err := configs.ReadHandover(handover)
	_ = handover.Close()
	if err != nil {
		return err
	}
	spoolConn, err := link.Inherited(supervise.SpoolFD, "spool")
	if err != nil {
		return err
	}
	relayConn, err := link.Inherited(supervise.RelayFD, "relay")
	if err != nil {
		return err
	}
	log := logsink.Logger(logTo, cfg.Log.Level, cfg.Log.Format, "collect")
	lock, err := waitForLock(ctx, cfg.Data.Dir, log)
	if err == nil {
		err = errors.Join(keepBooks(ctx, cfg, version, log, spoolConn, relayConn), lock.Release())
	}
	if err != nil {
		log.Error("stopping the books process after an error", "error", err)
		return &LoggedError{err}
	}
	return nil
}

// RunBeside runs a separately started books process until ctx is done. It connects to `wayside run` through the data directory, and keeps
// trying while `wayside run` is not running.
func RunBeside(ctx context.Context, cfg *configs.Config, version string, logTo io.Writer) error {
	log, _, sink := logsink.Open(logTo, cfg.Log.Level, cfg.Log.Format, "collect")
	defer sink.Close(logsink.CloseWait)
	// Only `wayside run` creates the directory: a mistyped --data must not look like an unused directory.
	if err := datadir.Exists(cfg.Data.Dir); err != nil {
		return err
	}
	var taken time.Time // the time since which another books process has been holding the lock of the directory
	for said := ""; ; {
		err := keepBooksBeside(ctx, cfg, version, log)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			log.Info("stopped before the books were open")
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, datadir.ErrInUse) {
			return err
		}
		if owner := booksElsewhere(cfg.Data.Dir); owner == nil {
			taken = time.Time{}
		} else if taken.IsZero() {
			taken = time.Now()
		} else if time.Since(taken) > takenMax {
			return fmt.Errorf("%w; wayside run starts its own books process unless it is started with --no-collector", owner)
		}
		if err != nil && err.Error() != said {
			log.Warn("cannot keep the books for the traffic process (wayside run); trying again every second", "error", err)
			said = err.Error()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// takenMax is how long another books process may hold the lock of the directory before this one gives up. The other process may just be
// closing its store.
const takenMax = 3 * time.Second

// booksElsewhere returns an error that wraps [datadir.ErrInUse] if another books process has the data directory locked.
func booksElsewhere(dir string) error {
	lock, err := datadir.Acquire(dir, datadir.CollectLock)
	if errors.Is(err, datadir.ErrInUse) {
		return err
	}
	_ = lock.Release()
	return nil
}

// keepBooksBeside connects to `wayside run` and keeps the books. `wayside run` relays requests through the newest connection, so this
// process opens that connection only after it has locked the directory.
func keepBooksBeside(ctx context.Context, cfg *configs.Config, version string, log *slog.Logger) error {
	spoolConn, err := link.Connect(cfg.Data.Dir, link.Spool)
	if err != nil {
		return err
	}
	defer func() { _ = spoolConn.Close() }()
	lock, err := waitForLock(ctx, cfg.Data.Dir, log)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	relayConn, err := link.Connect(cfg.Data.Dir, link.Relay)
	if err != nil {
		return err
	}
	return keepBooks(ctx, cfg, version, log, spoolConn, relayConn)
}

// lockWait is how long a books process waits for the lock of another one, which may be closing its store.
const lockWait = 15 * time.Second

// booksGCPercent keeps garbage small in proportion to the live heap, most of which is Badger's in-memory tables. With half of the
// default, the process needs 7 MiB less memory and 1 % more CPU time at full speed (measured with test/bench).
const booksGCPercent = 50

// keepBooks runs the books until the traffic process ends or ctx is done. If ctx is done, it drains and archives everything first. It
// owns both connections. The caller must hold the lock of the directory.
func keepBooks(ctx context.Context, cfg *configs.Config, version string, log *slog.Logger, spoolConn, relayConn net.Conn) error {
	defer func() { _ = spoolConn.Close() }()
	listener, err := link.NewListener(relayConn)
	if err != nil {
		_ = relayConn.Close()
		return err
	}
	defer func() { _ = listener.Close() }()
	if err := process.SetNiceness(cfg.Collector.Nice); err != nil {
		log.Warn("cannot lower the priority of the books process; it competes with traffic for the CPU", "error", err)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(booksGCPercent)
	}
	keeping, stop := context.WithCancel(ctx)
	defer stop()
	go memlimit.Keep(keeping, cfg.Collector.MemoryBytesMax.Int64(), log)
	keepConfig(cfg, version, log)
	source, err := spool.NewClient(spoolConn)
	if err != nil {
		return err
	}
	b, err := open(ctx, cfg, source, log)
	if err != nil {
		return err
	}
	b.version = version
	if err = b.export(source); err == nil {
		err = b.run(ctx, listener)
	}
	return errors.Join(err, b.close())
}

func waitForLock(ctx context.Context, dir string, log *slog.Logger) (*datadir.Lock, error) {
	deadline := time.Now().Add(lockWait)
	for said := false; ; said = true {
		lock, err := datadir.Acquire(dir, datadir.CollectLock)
		if !errors.Is(err, datadir.ErrInUse) || time.Now().After(deadline) {
			return lock, err
		}
		if !said {
			log.Info("waiting for another books process to end, because it is using the data directory", "reason", err, "at_most", lockWait.String())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

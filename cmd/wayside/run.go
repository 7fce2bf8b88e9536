package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/process"
	"github.com/wayside-proxy/wayside/proxy"
)

func newRun() *cobra.Command {
	f := configFlags{lookUp: true}
	cmd := &cobra.Command{
		Use: "run", Short: "Forward traffic and keep the books",
		Example: "wayside run --upstream http://127.0.0.1:8080",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			if err := cfg.RequireUpstream(); err != nil {
				return err
			}
			process.OutliveReaders()
			unhardened := process.Harden()
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			defer signal.Stop(signals)
			return runTraffic(cmd.Context(), trafficOptions{
				cfg: cfg, reload: func() (*configs.Config, error) { return f.load(cmd) },
				logTo: cmd.ErrOrStderr(), accessTo: cmd.OutOrStdout(), signals: signals, unhardened: unhardened,
			})
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&f.noCollector, "no-collector", false, "do not start the books process; run wayside collect beside it")
	return cmd
}

// trafficOptions is what runTraffic is given.
type trafficOptions struct {
	cfg        *configs.Config
	reload     func() (*configs.Config, error) // reads the configuration anew; nil: it cannot be reloaded
	logTo      io.Writer
	accessTo   io.Writer          // for log.access
	signals    <-chan os.Signal   // SIGHUP reloads, any other stops, a second one of those ends at once
	unhardened error              // of harden
	started    func(datadir.Info) // if not nil, called once traffic is taken
}

// runTraffic is the traffic process from start to exit. It stops when ctx is done or a signal arrives.
func runTraffic(ctx context.Context, o trafficOptions) error {
	cfg := o.cfg
	log, level, sink := logsink.Open(o.logTo, cfg.Log.Level, cfg.Log.Format, "run")
	defer sink.Close(logsink.CloseWait)
	if !cfg.Admin.PProf {
		runtime.MemProfileRate = 0 // nobody can ask for the heap profile, so no allocation is sampled for it
	}
	t := &traffic{cfg: cfg, log: log, level: level, logTo: sink, load: o.reload, claimed: make(chan struct{})}
	if cfg.Log.Access {
		t.accessTo = logsink.New(o.accessTo, nil)
		defer t.accessTo.Close(logsink.CloseWait)
	}
	t.now.Store(cfg)
	if o.unhardened != nil {
		log.Warn("the process has more rights than it needs", "error", o.unhardened)
	}
	if err := t.openData(); err != nil {
		return err
	}
	defer t.closeData()
	if err := t.listen(); err != nil {
		return err
	}
	if err := t.build(); err != nil {
		return err
	}
	forced, cancelForced := context.WithCancelCause(context.Background())
	defer cancelForced(nil)
	info := t.announce(t.start(forced))
	if o.started != nil {
		o.started(info)
	}
	if err := t.untilStopped(ctx, o.signals); err != nil {
		cancelForced(err)
		t.wait()
		return err
	}
	go t.awaitSecond(o.signals, cancelForced)
	t.shutdown(forced)
	cancelForced(nil)
	t.wait()
	return nil
}

// untilStopped returns when the process is to stop, and reloads until then. An error is that of a part that failed.
func (t *traffic) untilStopped(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			t.log.Info("stopping")
			return nil
		case s := <-signals:
			if s == syscall.SIGHUP {
				_, _ = t.reload() // logged
				continue
			}
			t.log.Info("stopping", "signal", s.String(), "timeout", t.now.Load().Shutdown.Timeout.String())
			return nil
		case err := <-t.failed:
			return err
		}
	}
}

// awaitSecond forces the end at a second signal.
func (t *traffic) awaitSecond(signals <-chan os.Signal, force context.CancelCauseFunc) {
	first := time.Now()
	for s := range signals {
		if s == syscall.SIGHUP {
			continue // too late for another configuration
		}
		if time.Since(first) < sameSignal {
			continue
		}
		t.log.Warn("second signal: leaving at once; what was not archived stays in the data directory", "signal", s.String())
		if t.child != nil {
			t.child.Hurry()
		}
		force(errForced)
		return
	}
}

var errForced = errors.New("second signal")

// sameSignal is the time in which a second signal is taken for the first: what signals a process and then its group, as
// timeout(1) does, sends two at once and means one.
const sameSignal = 20 * time.Millisecond

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
		close(t.claimed)
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

func (t *traffic) listen() error {
	cfg := t.cfg
	var err error
	if t.trafficLn, err = listenTCP(cfg, "listen", cfg.Listen, "--listen"); err != nil {
		return err
	}
	if t.adminLn, err = listenTCP(cfg, "admin.listen", cfg.Admin.Listen, "--admin"); err != nil {
		return err
	}
	if cfg.Admin.Probes != "" {
		t.probesLn, err = listenTCP(cfg, "admin.probes", cfg.Admin.Probes, "admin.probes")
	}
	return err
}

// listenTCP listens on the address of a key. None of its errors is a wrong configuration, after which systemd would not start wayside
// again: another process may go, and an address that this machine does not have may come, as an IPv6 address does that is still being
// probed, or one that moves between machines.
func listenTCP(cfg *configs.Config, key, addr, flag string) (net.Listener, error) {
	what := map[string]string{"listen": "traffic", "admin.listen": "admin", "admin.probes": "probes"}[key]
	ln, err := proxy.Listen(context.Background(), addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen for %s on %s: another process has this address; stop it or choose another with %s", what, addr, flag)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("listen for %s on %s: %w; ports below 1024 need privileges, choose another with %s", what, addr, err, flag)
	}
	var unknown *net.DNSError
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.As(err, &unknown) && unknown.IsNotFound {
		err = cfg.Refuse(key, fmt.Errorf("cannot listen on %s: %w; choose an address of this machine, or :PORT for all of them", addr, err))
		return nil, errors.New(err.Error()) // with its place, and not final
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", what, err)
	}
	return ln, nil
}

// announce writes run.json, again and again until running is done where it cannot be written, and the first log lines.
func (t *traffic) announce(running context.Context) datadir.Info {
	t.started = time.Now().UTC()
	info := t.describe()
	t.log.Info("listening", "listen", info.Listen, "upstream", info.Upstream)
	t.log.Info("dashboard and API", "admin", info.Admin+"/")
	t.log.Info("books", "data", t.cfg.Data.Dir, "archive", info.Archive, "epoch", info.Epoch, "version", info.Version)
	t.sayWhereBooksBegin()
	err := t.claim()
	t.beginCollect(running) // before keepClaiming, whose the lock is from then on
	if err != nil {
		t.log.Warn("other commands will not find this process by its data directory until run.json can be written; use --admin", "error", err)
		t.part("claim", func() error { t.keepClaiming(running); return nil })
	}
	return info
}

// shutdown stops in the order that loses nothing: no new traffic, then the last responses, then their events through
// queue, store and archive. All of it ends when forced is done, or so long before shutdown.timeout is over that the books
// process can close its store; three quarters of that later it is waited for no more.
func (t *traffic) shutdown(forced context.Context) {
	timeout := t.now.Load().Shutdown.Timeout.Std()
	toLeave := min(timeout/6, 3*time.Second)
	if t.child != nil {
		time.AfterFunc(timeout-toLeave/4, t.child.Hurry)
	}
	ctx, cancel := context.WithTimeout(forced, timeout-toLeave)
	defer cancel()
	began := time.Now()
	t.admin.SetReady(false)
	select {
	case <-time.After(t.now.Load().Shutdown.Delay.Std()):
	case <-ctx.Done():
	}
	t.endTraffic(ctx, toLeave)
	if err := t.spool.Flush(ctx); err != nil {
		t.log.Warn("flush spool", "error", err)
	}
	rest := t.finishBooks(ctx)
	t.scrubPaths(ctx)
	t.log.Info("stopped", append([]any{slog.String("took", time.Since(began).Round(time.Millisecond).String())}, rest...)...)
}

// endTraffic lets the requests in flight end, and keeps a third of the time, at most ten seconds, for the books: what is
// recorded has to be drained and archived as well. toLeave, after ctx's deadline, is part of it.
func (t *traffic) endTraffic(ctx context.Context, toLeave time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		keep := max(0, min((time.Until(deadline)+toLeave)/3, 10*time.Second)-toLeave)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-keep))
		defer cancel()
	}
	if err := t.proxy.Shutdown(ctx); err != nil {
		t.log.Warn("requests were still running and have been cut", "error", err)
	}
}

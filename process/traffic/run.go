// Package traffic is the traffic process. It forwards requests, records them in the spool, and serves the admin listener and the probes
// listener. It starts the books process and communicates with it through the channels of package link. It connects proxy, spool and admin
// according to one configuration. It never imports the store: nothing that the books process does can make a request fail, delay it, or
// crash the process that handles it.
//
//   - run.go, shutdown.go: the process from start to end
//   - parts.go: its parts, how they are created, connected and started; options.go, groups.go, routes.go: the options of the proxy
//   - datadir.go: the data directory, whose problems do not stop traffic; missing.go: files that have been removed from it
//   - listen.go: the addresses; tls.go: certificates
//   - peers.go: the books process as seen from here; collectsocket.go: how a books process that was started by hand connects
//   - reload.go: putting a new configuration into effect while requests continue
//   - audit.go, backup.go, forget.go: API requests that involve both processes
//   - marks.go: marks for the books
//   - health.go, metrics.go: the state of the process while it runs
package traffic

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/systemd"
)

// Options configures the traffic process.
type Options struct {
	Config *configs.Config
	// Reload reads the configuration again; nil if it cannot be reloaded.
	Reload func() (*configs.Config, error)
	// LogTo receives the log, AccessTo the access log (log.access). The process does not wait for their readers.
	LogTo, AccessTo io.Writer
	// Signals delivers signals: SIGHUP reloads the configuration, any other signal stops the process, and a second such signal ends it
	// without waiting for anything.
	Signals <-chan os.Signal
	// Version and Commit identify the program.
	Version, Commit string
	// Unhardened is the error of [process.Harden].
	Unhardened error
	// Started, if not nil, is called as soon as traffic is accepted.
	Started func(datadir.Info)
}

// Run runs the traffic process from start to exit. It stops when ctx is done or a signal arrives. The error wraps [datadir.ErrInUse] or
// [datadir.ErrUnsafe], or says that an address cannot be used or that a part has failed.
func Run(ctx context.Context, o Options) error {
	cfg := o.Config
	log, level, sink := logsink.Open(o.LogTo, cfg.Log.Level, cfg.Log.Format, "run")
	defer sink.Close(logsink.CloseWait)
	if !cfg.Admin.PProf {
		runtime.MemProfileRate = 0 // do not sample allocations, because no one can read the heap profile without pprof
	}
	t := &traffic{opt: o, cfg: cfg, started: time.Now().UTC(), log: log, level: level, logTo: sink}
	if cfg.Log.Access {
		t.accessTo = logsink.New(o.AccessTo, nil)
		defer t.accessTo.Close(logsink.CloseWait)
	}
	if o.Unhardened != nil {
		log.Warn("the process has more privileges than it needs; continuing with them", "error", o.Unhardened)
	}
	var err error
	if t.dir, err = openDataDir(cfg.Data.Dir, log); err != nil {
		return err
	}
	defer t.dir.close()
	given, err := systemd.Sockets()
	if err != nil {
		return err
	}
	if t.listeners, err = listen(cfg, given); err != nil {
		return err
	}
	if err := t.build(); err != nil {
		return err
	}
	forced, cancelForced := context.WithCancelCause(context.Background())
	defer cancelForced(nil)
	info := t.announce(t.start(forced))
	t.admin.SetReady(true) // only now: scripts wait for this before they use commands that need run.json
	notify(log, systemd.Ready)
	if o.Started != nil {
		o.Started(info)
	}
	if err := t.untilStopped(ctx); err != nil {
		cancelForced(err)
		t.wait()
		return err
	}
	notify(log, systemd.Stopping)
	go t.forceOnSecondSignal(cancelForced)
	t.shutdown(forced)
	cancelForced(nil)
	t.wait()
	return nil
}

// untilStopped handles signals until the process must stop. It returns the error of the part that failed, if any.
func (t *traffic) untilStopped(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			t.log.Info("stopping")
			return nil
		case s := <-t.opt.Signals:
			if s == syscall.SIGHUP {
				_, _ = t.config.reload() // reload logs its error
				continue
			}
			t.log.Info("stopping", "signal", s.String(), "timeout", t.config.current().Shutdown.Timeout.String())
			return nil
		case err := <-t.failed:
			return err
		}
	}
}

// notify reports the state of the process to the service manager. An error is only logged.
func notify(log *slog.Logger, state string) {
	if err := systemd.Notify(state); err != nil {
		log.Warn("cannot tell the service manager the state of this process", "error", err)
	}
}

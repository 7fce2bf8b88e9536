// Package traffic is the traffic process: it forwards requests, records them in the spool, answers the admin and the probes listener, and
// starts the books process and asks it, over the channels of package link. It puts proxy, spool and admin together under one configuration,
// and never imports the store: nothing that the books do can fail, delay or crash a request.
//
//   - run.go, shutdown.go: the process from its start to its end; parts.go: its parts, how they are built and started
//   - lock.go: the data directory, whose trouble does not stop traffic; listen.go: the addresses
//   - peers.go, collectsocket.go: the books process as seen from here, and how one that was started by hand connects
//   - reload.go: another configuration while requests go on
//   - verify.go, forget.go: answers for which both processes are needed, the accounting among them
//   - health.go, metrics.go, missing.go: what is said of the process while it runs
package traffic

import (
	"context"
	"io"
	"os"
	"runtime"
	"syscall"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
)

// Options is what the traffic process is given.
type Options struct {
	Config *configs.Config
	// Reload reads the configuration again; nil: it cannot be reloaded.
	Reload func() (*configs.Config, error)
	// LogTo gets the log, AccessTo the access log (log.access). No reader of theirs holds the process up.
	LogTo, AccessTo io.Writer
	// Signals: SIGHUP reloads, any other stops, a second one of those ends the process without waiting for anything.
	Signals <-chan os.Signal
	// Version and Commit are those of the program.
	Version, Commit string
	// Unhardened is why the process has more rights than it needs, as [process.Harden] says; nil: it has not.
	Unhardened error
	// Started, if not nil, is called once traffic is accepted.
	Started func(datadir.Info)
}

// Run is the traffic process from start to exit. It stops when ctx is done or a signal arrives. The error wraps [datadir.ErrInUse],
// [datadir.ErrUnsafe], or is that of an address or of a part that failed.
func Run(ctx context.Context, o Options) error {
	cfg := o.Config
	log, level, sink := logsink.Open(o.LogTo, cfg.Log.Level, cfg.Log.Format, "run")
	defer sink.Close(logsink.CloseWait)
	if !cfg.Admin.PProf {
		runtime.MemProfileRate = 0 // nobody can ask for the heap profile, so no allocation is sampled for it
	}
	t := &traffic{cfg: cfg, version: o.Version, commit: o.Commit, log: log, level: level, logTo: sink, load: o.Reload, locked: make(chan struct{})}
	if cfg.Log.Access {
		t.accessTo = logsink.New(o.AccessTo, nil)
		defer t.accessTo.Close(logsink.CloseWait)
	}
	t.now.Store(cfg)
	if o.Unhardened != nil {
		log.Warn("the process has more rights than it needs", "error", o.Unhardened)
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
	if o.Started != nil {
		o.Started(info)
	}
	if err := t.untilStopped(ctx, o.Signals); err != nil {
		cancelForced(err)
		t.wait()
		return err
	}
	go t.awaitSecond(o.Signals, cancelForced)
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

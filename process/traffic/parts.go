package traffic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/accesslog"
	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/internal/memlimit"
	"github.com/wayside-proxy/wayside/internal/supervise"
	"github.com/wayside-proxy/wayside/process"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/spool"
)

// traffic contains the parts of the traffic process. Parts that own state or have their own loops are types of this package.
type traffic struct {
	opt      Options
	cfg      *configs.Config // the configuration when the process started; see config for the one in effect
	started  time.Time
	log      *slog.Logger
	level    *slog.LevelVar
	logTo    *logsink.Sink
	accessTo *logsink.Sink // nil without log.access

	dir       *dataDir
	listeners listeners
	spool     *spool.Set
	server    *spool.Server // serves the books process's requests to the spool
	recorder  proxy.Recorder
	access    *accesslog.Log // nil without log.access
	proxy     *proxy.Proxy
	tls       encryption
	admin     *admin.Server
	snapshots *snapshot.History
	child     *supervise.Supervisor // nil with --no-collector

	peers   peers
	config  reloader
	health  health
	files   fileWatch
	audit   audit
	eraser  eraser
	backup  backup
	marker  marker
	collect collectSocket // used with --no-collector

	failed chan error // receives the error of the first part that cannot continue
	parts  sync.WaitGroup
	stop   context.CancelFunc // ends the parts after shutdown
}

// build creates all parts and starts none.
func (t *traffic) build() (err error) {
	t.failed = make(chan error, 8)
	t.snapshots = new(snapshot.History)
	if t.spool, err = t.openSpool(); err != nil {
		return err
	}
	t.server = spool.NewServer(t.spool, t.log)
	t.recorder = recorderFor(t.spool)
	if t.accessTo != nil {
		t.access = accesslog.New(t.recorder, t.accessTo)
		t.recorder = t.access
	}
	if err = t.tls.start(t); err != nil {
		return err
	}
	o := proxyOptions(t.cfg, t.tls.options(t.cfg), t.recorder, t.log)
	o.Loops = makeRoom(t.cfg)
	if t.proxy, err = proxy.New(o); err != nil {
		return err
	}
	t.connect()
	t.admin = admin.New(admin.Options{
		Token: string(t.cfg.Admin.Token), Hosts: t.cfg.Admin.Hosts, Snapshots: t.snapshots.Serve, Verify: t.audit.verify,
		Accounting: func(ctx context.Context) (any, error) { return t.audit.answer(ctx) },
		Upstreams:  func() any { return map[string]any{"groups": t.proxy.Groups()} },
		Gatherer:   t.metrics(), Checks: t.health.checks(), Meanwhile: t.health.meanwhile, Profiles: t.cfg.Admin.PProf,
		Reload: t.config.reload, Forget: t.eraser.forget, Backup: t.backup.run, Logger: t.log,
	})
	t.peers.admin, t.health.admin, t.files.admin, t.audit.admin, t.eraser.admin, t.marker.admin, t.backup.admin = t.admin, t.admin, t.admin, t.admin, t.admin, t.admin, t.admin
	if t.cfg.Collector.Enabled {
		t.child, err = t.newChild()
		t.config.child = t.child
	}
	return err
}

// connect gives the parts of this package access to the other parts that they use. The admin server is set up later, because it needs all
// of them.
func (t *traffic) connect() {
	t.dir.describe = t.describe
	t.marker = marker{log: t.log, wake: make(chan struct{}, 1)}
	t.config = reloader{
		load: t.opt.Reload, log: t.log, level: t.level, proxy: t.proxy, tls: &t.tls, recorder: t.recorder, spool: t.spool, dir: t.dir,
		queueLimit: t.cfg.QueueBytesMax(), mark: t.marker.add, logTo: t.opt.LogTo,
	}
	t.config.inEffect.Store(t.cfg)
	t.audit = audit{
		spool: t.spool, proxy: t.proxy, files: &t.files, quarantine: filepath.Join(t.dir.path, datadir.Quarantine),
		accounts: accounting.Joiner{Spools: t.spool, HadStore: t.dir.hadStore, Ask: func(ctx context.Context) ([]byte, error) {
			return t.admin.AskBooks(ctx, http.MethodGet, admin.PathView)
		}},
	}
	t.peers = peers{log: t.log, refresh: t.audit.accounts.Refresh, meanwhile: t.health.meanwhile, arrived: make(chan struct{}, 1)}
	t.health = health{dataDir: t.dir.path, spool: t.spool, proxy: t.proxy, peers: &t.peers, files: &t.files}
	t.files = fileWatch{
		dir: t.dir, epoch: t.spool.Epoch().String(), log: t.log, archive: func() string { return t.config.current().LocalArchive() },
	}
	t.eraser = eraser{spool: t.spool, log: t.log, current: t.config.current, accessLog: t.cfg.Log.Access}
	t.backup = backup{spool: t.spool, log: t.log, current: t.config.current}
	t.collect = collectSocket{dir: t.dir.path, log: t.log, server: t.server, peers: &t.peers}
}

func (t *traffic) openSpool() (*spool.Set, error) {
	return spool.Open(spool.Options{
		Dir:              filepath.Join(t.cfg.Data.Dir, datadir.SpoolDir),
		QuarantineDir:    filepath.Join(t.cfg.Data.Dir, datadir.Quarantine),
		SegmentBytes:     t.cfg.Spool.SegmentBytes.Int(),
		Segments:         t.cfg.Spool.Segments,
		CommitInterval:   t.cfg.Spool.CommitInterval.Std(),
		QueueBytesMax:    t.cfg.QueueBytesMax(),
		AgeMax:           t.cfg.Spool.AgeMax.Std(),
		SyncEachResponse: t.cfg.Spool.Sync == "request",
		OpenFile:         spoolFiles(),
		OnPublish:        t.published,
		OnFetch:          t.fetched,
		Logger:           t.log,
	})
}

// booksTimerSlack is how late the books process's timed waits may end. Badger alone checks forty times a second whether there is
// something to compact. With this slack, the kernel combines these and other waits into four wake-ups per second (ADR 86).
const booksTimerSlack = 250 * time.Millisecond

func (t *traffic) newChild() (*supervise.Supervisor, error) {
	handover, err := t.config.handover(t.cfg)
	if err != nil {
		return nil, err
	}
	return supervise.New(supervise.Options{
		Args: []string{"collect", "--inherited"}, Config: handover, Env: supervise.ChildEnv(os.Environ()), TimerSlack: booksTimerSlack,
		ServeSpool: t.server.ServeConn, OnStart: t.peers.connected, OnExit: func(error) { t.peers.disconnected(nil) },
		Meanwhile: t.health.meanwhile, CrashCause: t.health.diskFull, CrashFile: filepath.Join(t.dir.path, datadir.CrashFile),
		Stderr: t.logTo, Logger: t.log,
	}), nil
}

// start starts all parts. It returns the context of the parts, which ends when t.stop is called or forced is done.
func (t *traffic) start(forced context.Context) context.Context {
	ctx, cancel := context.WithCancel(forced)
	t.stop = cancel
	loop := func(name string, run func(context.Context)) { t.part(name, func() error { run(ctx); return nil }) }
	t.part("spool", func() error { return t.spool.Run(ctx) })
	if t.access != nil {
		loop("access log", func(ctx context.Context) { _ = t.access.Run(ctx) }) // a failing access log does not stop wayside
	}
	loop("scrub", t.eraser.run)
	loop("marks", t.marker.run)
	loop("files", t.files.run)
	loop("balance", t.audit.balance)
	loop("ping", t.peers.ping)
	loop("memory", t.limitMemory)
	t.tls.serve(ctx, t)
	loop("first connection to the upstream", func(ctx context.Context) {
		if err := t.proxy.Reach(ctx); err != nil && ctx.Err() == nil {
			what := "cannot reach the upstream; until it can be reached, clients get error responses"
			if cfg := t.config.current(); len(cfg.Upstream) != 1 {
				what = "cannot reach some of the upstream servers; requests go to other servers in the same group, if there are any"
			}
			t.log.Warn(what, "upstream", t.config.current().Destinations(), "error", err)
		}
	})
	t.part("admin", func() error { return t.admin.Serve(ctx, t.listeners.admin, adminGrace(t.cfg)) })
	if t.listeners.probes != nil {
		t.part("probes", func() error { return t.admin.ServeProbes(ctx, t.listeners.probes, adminGrace(t.cfg)) })
	}
	t.part("books process", func() error {
		if !t.dir.await(ctx) {
			return nil
		}
		if t.child != nil {
			return t.child.Run(ctx)
		}
		t.collect.serve(ctx)
		return nil
	})
	return ctx
}

// part runs one part of the process in the background. If run returns an error, the process ends.
func (t *traffic) part(name string, run func() error) {
	t.parts.Go(func() {
		if err := run(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			t.failed <- fmt.Errorf("%s: %w", name, err)
		}
	})
}

// wait ends the remaining parts and closes the spool. The books process ends because its channels are closed.
func (t *traffic) wait() {
	t.stop()
	t.parts.Wait()
	if err := t.spool.Close(); err != nil {
		t.log.Warn("cannot close the spool; the next start recovers its events", "error", err)
	}
}

// published receives the data that the books process publishes to the traffic process.
func (t *traffic) published(topic string, body []byte) error {
	if topic != snapshot.Topic {
		return fmt.Errorf("unknown topic %q", topic)
	}
	snap, err := snapshot.Decode(body)
	if err != nil {
		return err
	}
	t.snapshots.Add(snap)
	return nil
}

// fetched returns what the books process requests through the spool's connection.
func (t *traffic) fetched(topic string) ([]byte, error) {
	if topic != admin.TopicMetrics {
		return nil, fmt.Errorf("unknown topic %q", topic)
	}
	return t.admin.Families()
}

// limitMemory keeps the memory use of the process close to its target, unless the operator has set a limit.
func (t *traffic) limitMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") == "" {
		memory, _ := process.Resources()
		memlimit.Keep(ctx, t.cfg.TrafficBytes(memory), t.log)
	}
}

// describe returns the content of run.json for the configuration in effect.
func (t *traffic) describe() datadir.Info {
	cfg := t.config.current()
	return datadir.Info{
		PID: os.Getpid(), Version: t.opt.Version, Started: t.started,
		Listen: t.listeners.traffic.Addr().String(), Admin: "http://" + reachable(t.listeners.admin.Addr()),
		Upstream: cfg.Destinations(), Archive: cfg.ArchiveURL(), Epoch: t.spool.Epoch().String(),
	}
}

// announce writes the first log lines and run.json. If run.json cannot be written, announce keeps trying in the background until running is done.
func (t *traffic) announce(running context.Context) datadir.Info {
	info := t.describe()
	t.log.Info("listening", "listen", info.Listen, "upstream", info.Upstream)
	t.log.Info("dashboard and API", "admin", info.Admin+"/")
	t.log.Info("keeping the books", "data", t.dir.path, "archive", info.Archive, "epoch", info.Epoch, "version", info.Version)
	logWarnings(t.log, t.cfg)
	t.dir.logFresh(t.cfg.LocalArchive())
	if err := t.dir.publish(); err != nil {
		t.log.Warn("other commands will not find this process by its data directory until run.json can be written; use --admin", "error", err)
		t.part("data directory", func() error { t.dir.retry(running); return nil })
	}
	return info
}

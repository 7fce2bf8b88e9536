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
	"sync/atomic"
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

// traffic holds the parts of the traffic process.
type traffic struct {
	version, commit string                          // of the program
	cfg             *configs.Config                 // at the start
	now             atomic.Pointer[configs.Config]  // in effect: cfg, or what was reloaded
	load            func() (*configs.Config, error) // nil: cannot be reloaded
	queueLimit      int64                           // bytes; guarded by loading once built
	loading         sync.Mutex                      // held while reloading
	reloads         reloads
	started         time.Time
	log             *slog.Logger
	level           *slog.LevelVar
	logTo           *logsink.Sink
	accessTo        *logsink.Sink // nil without log.access

	lockMu                       sync.Mutex    // held while lock and run.json are written
	lock                         *datadir.Lock // nil where the data directory cannot be written
	locked                       chan struct{} // closed once lock is there
	trafficLn, adminLn, probesLn net.Listener
	spool                        *spool.Set
	server                       *spool.Server
	proxy                        *proxy.Proxy
	recorder                     proxy.Recorder
	access                       *accesslog.Log // nil without log.access
	admin                        *admin.Server
	child                        *supervise.Supervisor  // nil with --no-collector
	accounts                     accounting.Joiner      // joins the figures of spool and store
	missing                      atomic.Pointer[string] // files that were removed, see missing.go; nil or empty: none
	newBooks                     bool                   // the data directory had nothing of an earlier run when this process started
	balanced                     atomic.Pointer[bool]   // whether the figures added up; nil: not known
	snapshots                    *snapshot.History
	peers                        peers
	collect                      collectSocket

	failed chan error // the first part that cannot go on
	parts  sync.WaitGroup
	stop   context.CancelFunc // ends the parts, after shutdown
}

// build makes all parts and starts none.
func (t *traffic) build() error {
	var err error
	t.failed = make(chan error, 8)
	t.peers = peers{came: make(chan struct{}, 1), log: t.log}
	t.snapshots = new(snapshot.History)
	t.queueLimit = t.cfg.QueueBytesMax()
	t.spool, err = spool.Open(spool.Options{
		Dir:              filepath.Join(t.cfg.Data.Dir, datadir.SpoolDir),
		QuarantineDir:    filepath.Join(t.cfg.Data.Dir, datadir.Quarantine),
		SegmentBytes:     t.cfg.Spool.SegmentBytes.Int(),
		Segments:         t.cfg.Spool.Segments,
		CommitInterval:   t.cfg.Spool.CommitInterval.Std(),
		QueueBytesMax:    t.queueLimit,
		AgeMax:           t.cfg.Spool.AgeMax.Std(),
		SyncEachResponse: t.cfg.Spool.Sync == "request",
		OpenFile:         spoolFiles(),
		OnPublish:        t.published,
		Logger:           t.log,
	})
	if err != nil {
		return err
	}
	t.server = spool.NewServer(t.spool, t.log)
	t.accounts.Spools, t.accounts.Ask = t.spool, func(ctx context.Context) ([]byte, error) {
		return t.admin.AskBooks(ctx, http.MethodGet, admin.PathView)
	}
	t.recorder = recorderFor(t.spool)
	if t.accessTo != nil {
		t.access = accesslog.New(t.recorder, t.accessTo)
		t.recorder = t.access
	}
	if t.proxy, err = proxy.New(proxyOptions(t.cfg, t.recorder, t.log)); err != nil {
		return err
	}
	t.admin = admin.New(admin.Options{
		Token: string(t.cfg.Admin.Token), Hosts: t.cfg.Admin.Hosts, Snapshots: t.snapshots.Serve, Accounting: t.accounting, Verify: t.verify,
		Gatherer: t.metrics(), Checks: t.checks(), Meanwhile: t.meanwhile, Profiles: t.cfg.Admin.PProf, Reload: t.reload, Forget: t.forget, Logger: t.log,
	})
	t.peers.admin = t.admin
	if !t.cfg.Collector.Enabled {
		t.collect = collectSocket{dir: t.cfg.Data.Dir, log: t.log, spool: t.server, peers: &t.peers}
		return nil
	}
	handover, err := t.cfg.Handover()
	if err != nil {
		return err
	}
	t.child = supervise.New(supervise.Options{
		Args: []string{"collect", "--inherited"}, Config: handover, Env: supervise.ChildEnv(os.Environ()),
		ServeSpool: t.server.ServeConn, OnStart: t.peers.connected, OnExit: func(error) { t.peers.disconnected(nil) }, Stderr: t.logTo, Logger: t.log,
		Meanwhile: t.meanwhile, CrashCause: t.diskFull,
		CrashFile: filepath.Join(t.cfg.Data.Dir, datadir.CrashFile), TimerSlack: booksTimerSlack,
	})
	return nil
}

// booksTimerSlack is how late the books process may be for what it does by the clock. Badger alone looks forty times a second whether
// there is something to compact; together with other waits that is half as many wake-ups (ADR 86).
const booksTimerSlack = 40 * time.Millisecond

func proxyOptions(cfg *configs.Config, recorder proxy.Recorder, log *slog.Logger) proxy.Options {
	return proxy.Options{
		Upstream: cfg.Upstream, Recorder: recorder, Logger: log,
		ClientAddress: proxy.ClientAddress(cfg.Record.ClientAddress), TraceID: cfg.Record.TraceID, RequestID: cfg.Record.RequestID, TrustedProxies: cfg.Proxy.TrustedPrefixes(),
		RecordExclude: proxy.Exclude{Paths: cfg.Record.Exclude.Paths, UserAgents: cfg.Record.Exclude.UserAgents},
		HeaderTimeout: cfg.Proxy.HeaderTimeout.Std(), ReadTimeout: cfg.Proxy.ReadTimeout.Std(),
		IdleTimeout: cfg.Proxy.IdleTimeout.Std(), WriteTimeout: cfg.Proxy.WriteTimeout.Std(),
		ConnectTimeout: cfg.Proxy.ConnectTimeout.Std(), ResponseTimeout: cfg.Proxy.ResponseTimeout.OrOff(), BodyTimeout: cfg.Proxy.BodyTimeout.OrOff(),
		TunnelTimeout:   cfg.Proxy.TunnelTimeout.OrOff(),
		MaxIdleUpstream: cfg.Proxy.UpstreamIdle.Std(), MaxConnWait: cfg.Proxy.UpstreamWait.Std(),
		MaxConnsPerUpstream: cfg.Proxy.UpstreamConnsMax, MaxHeaderBytes: cfg.Proxy.HeaderBytesMax.Int(),
		MaxConns: cfg.Proxy.ConnsMax, MaxHeldBytes: cfg.Proxy.HeldBytesMax.Int64(), MaxConnsPerAddress: cfg.Proxy.AddressConnsMax, MinBodyRate: cfg.Proxy.BodyRateMin.Int64(),
		TotalTimeout: cfg.Proxy.TotalTimeout.Std(), ResolveInterval: cfg.Proxy.UpstreamResolve.OrOff(), ServerTiming: cfg.Proxy.ServerTiming,
		PassFields: cfg.Proxy.PassFields, NoVia: !cfg.Proxy.Via,
		RequestFields: proxy.FieldRules(cfg.Proxy.RequestFields), ResponseFields: proxy.FieldRules(cfg.Proxy.ResponseFields),
		MaxRequestBodyBytes: cfg.Proxy.BodyBytesMax.Int64(),
	}
}

// adminGrace is how long answers of the admin listeners that are under way at the end may take, at most; it is part of
// shutdown.timeout.
func adminGrace(cfg *configs.Config) time.Duration {
	return min(time.Second, cfg.Shutdown.Timeout.Std()/10)
}

// start sets all parts running. They end through t.stop, or when forced is done; the context it returns is theirs.
func (t *traffic) start(forced context.Context) context.Context {
	ctx, cancel := context.WithCancel(forced)
	t.stop = cancel
	t.part("spool", func() error { return t.spool.Run(ctx) })
	t.part("scrub", func() error { return t.keepScrubbed(ctx) })
	if t.access != nil {
		t.part("access log", func() error { _ = t.access.Run(ctx); return nil }) // a reader that left is no reason to stop
	}
	lock := t.lock // retryLock may take it later
	t.part("files", func() error { t.keepLooking(ctx, lock); return nil })
	t.part("balance", func() error { return t.keepBalance(ctx) })
	t.part("ping", func() error { t.keepPinging(ctx); return nil })
	t.part("memory", func() error { t.keepMemory(ctx); return nil })
	t.part("proxy", func() error { return t.proxy.Serve(t.trafficLn) })
	t.part("first look at the upstream", func() error {
		if err := t.proxy.Reach(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn("the upstream cannot be reached; wayside answers for it until it can", "upstream", t.now.Load().Upstream, "error", err)
		}
		return nil
	})
	t.part("admin", func() error { return t.admin.Serve(ctx, t.adminLn, adminGrace(t.cfg)) })
	if t.probesLn != nil {
		t.part("probes", func() error { return t.admin.ServeProbes(ctx, t.probesLn, adminGrace(t.cfg)) })
	}
	if t.child != nil {
		t.part("books process", func() error {
			if !t.awaitLock(ctx) {
				return nil
			}
			return t.child.Run(ctx)
		})
	}
	t.admin.SetReady(true)
	return ctx
}

// part runs one part in the background. One that ends by itself with an error ends the process.
func (t *traffic) part(name string, run func() error) {
	t.parts.Go(func() {
		if err := run(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			t.failed <- fmt.Errorf("%s: %w", name, err)
		}
	})
}

// wait ends what is left and closes the spool. The books process, whose channels close now, leaves by itself.
func (t *traffic) wait() {
	t.stop()
	t.parts.Wait()
	if err := t.spool.Close(); err != nil {
		t.log.Warn("close spool", "error", err)
	}
}

// published takes what the books process leaves with the traffic process.
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

// keepMemory holds the process near the memory that it aims for, unless the operator has set a limit.
func (t *traffic) keepMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") == "" {
		memory, _ := process.Resources()
		memlimit.Keep(ctx, t.cfg.TrafficBytes(memory), t.log)
	}
}

// announce writes run.json, again and again until running is done where it cannot be written, and the first log lines.
func (t *traffic) announce(running context.Context) datadir.Info {
	t.started = time.Now().UTC()
	info := t.describe()
	t.log.Info("listening", "listen", info.Listen, "upstream", info.Upstream)
	t.log.Info("dashboard and API", "admin", info.Admin+"/")
	t.log.Info("books", "data", t.cfg.Data.Dir, "archive", info.Archive, "epoch", info.Epoch, "version", info.Version)
	t.sayWhereBooksBegin()
	err := t.lockDataDir()
	t.serveCollect(running) // before retryLock, which may take the lock from then on
	if err != nil {
		t.log.Warn("other commands will not find this process by its data directory until run.json can be written; use --admin", "error", err)
		t.part("data directory", func() error { t.retryLock(running); return nil })
	}
	return info
}

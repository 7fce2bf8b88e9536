// Package books is the books process: it opens the store, drains the spool into it, creates snapshots, answers queries, archives
// events, and runs the scheduled jobs. It connects the collector, the store and the uploader according to one configuration.
//
//   - start.go: the process from start to end, as a child of `wayside run` or started separately
//   - books.go: the parts of the process, the loops that drive them, and the order in which they stop
//   - refill.go: refills a new store from the archive after the old one was damaged
//   - handler.go: its HTTP interface, for the traffic process and, through that process, for all clients
//   - commands.go: requests from commands such as `wayside archive`
//   - otlp.go: exports metrics and spans
//   - jobs.go, forget.go, backup.go, verify.go, mark.go: work on request or on schedule
//   - offline.go, serve.go: the same work on a data directory that no wayside is using
//
// The subpackage restore creates data directories from an archive, and logimport imports the access logs of other servers.
package books

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/failing"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/otlp"
	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/uploader"
)

// books contains the parts of the books process.
type books struct {
	cfg       *configs.Config
	version   string // version of the program; empty for a single job
	log       *slog.Logger
	store     *store.Store
	collector *collector.Collector // nil for a single job
	failing   *failing.Watch       // nil for a single job
	uploader  *uploader.Uploader
	targets   *uploader.Targets // of uploader
	otlp      *otlp.Exporter    // nil without otlp.endpoint, and for a single job

	refill refill // state of the refill of a store that replaced a damaged one

	damaged     chan struct{} // closed when the store is found damaged; nil for a single job and for read-only use
	damagedOnce sync.Once

	verifying sync.Mutex // held during a verification that the traffic process requested
	backup    backup

	capacity atomic.Pointer[collector.Capacity] // the last report; nil before the first one

	loops     sync.WaitGroup // collector and uploader
	stopLoops context.CancelFunc
}

// open opens the store and the archive. source may be nil if nothing has to be drained. open starts nothing. [Check] has already rejected
// every configuration that open would reject, so an error from open concerns the disk.
func open(ctx context.Context, cfg *configs.Config, source spool.Source, log *slog.Logger) (*books, error) {
	dir := cfg.Data.Dir
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, datadir.StoreDir), QuarantineDir: filepath.Join(dir, datadir.Quarantine), Logger: log,
	})
	if err != nil {
		return nil, err
	}
	b := &books{cfg: cfg, log: log, store: s}
	if err := b.build(ctx, source); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return b, nil
}

// build creates the uploader and, if there is a source, the collector.
func (b *books) build(ctx context.Context, source spool.Source) (err error) {
	cfg := b.cfg
	if b.uploader, err = b.newUploader(ctx); err != nil || source == nil {
		return err
	}
	labeler, err := NewLabeler(cfg)
	if err != nil {
		return err
	}
	b.collector, err = collector.New(collector.Options{
		Source: source, Store: b.store, Labeler: labeler, RawPathsOff: cfg.Paths.Raw == "off",
		PeekEvents: cfg.Collector.DrainEvents, PeekWait: cfg.Collector.DrainInterval.Std(),
		SnapshotEveryBatches: cfg.Collector.Snapshot.Batches, SnapshotInterval: cfg.Collector.Snapshot.Interval.Std(),
		SnapshotWindow: cfg.Collector.Snapshot.Window.Std(), RoutesMax: cfg.Metrics.PathsMax, Span: b.addSpan,
		DataDir: cfg.Data.Dir, ArchiveDir: cfg.LocalArchive(), BytesMax: cfg.Data.BytesMax.Int64(), FreeMin: cfg.Data.FreeMin.Int64(),
		SpoolBytesMax: cfg.SpoolBytesMax(), Logger: b.log,
	})
	if err != nil {
		return err
	}
	b.failing = failing.New(failing.Options{
		Source: b.store, Rules: b.collector.Rules, Applied: func() uint64 { return b.collector.Status().Applied }, Logger: b.log,
	})
	return nil
}

// NewLabeler creates an empty path table of the configured size, with the configured templates.
func NewLabeler(cfg *configs.Config) (*paths.Labeler, error) {
	return paths.New(paths.Options{Max: cfg.Paths.Max, HostsMax: cfg.Paths.HostsMax, Templates: cfg.Paths.Templates})
}

func (b *books) newUploader(ctx context.Context) (*uploader.Uploader, error) {
	cfg, s, log := b.cfg, b.store, b.log
	target, err := OpenTarget(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	var fields []string
	if cfg.Record.TraceID {
		fields = append(fields, uploader.FieldTraceID)
	}
	b.targets = uploader.NewTargets(target, TargetOptions(cfg, log))
	return uploader.New(uploader.Options{
		Source: s, Catalogue: s, Target: target, Targets: b.targets, Service: cfg.Service, Instance: cfg.Instance, Fields: fields, Omit: cfg.Archive.Omit,
		After: cfg.Archive.After.OrOff(), ObjectBytes: cfg.Archive.ObjectBytes.Int64(), RetentionEvents: cfg.Retention.Events.OrOff(),
		ArchiveSchedule: cfg.Archive.Schedule, RetentionSchedule: cfg.Retention.Schedule,
		Jobs: b.furtherJobs(), Memory: s, Expire: cfg.ArchiveExpiry(), RequestTimeout: cfg.Archive.Timeout.Std(), Logger: log,
	})
}

// OpenTarget opens the archive that the configuration names. It contacts no server.
func OpenTarget(ctx context.Context, cfg *configs.Config, log *slog.Logger) (uploader.Target, error) {
	return uploader.OpenTarget(ctx, cfg.ArchiveURL(), TargetOptions(cfg, log))
}

// TargetOptions returns the options for the archive's target, and for former archives in the catalogue.
func TargetOptions(cfg *configs.Config, log *slog.Logger) uploader.TargetOptions {
	return uploader.TargetOptions{AccessKey: string(cfg.Archive.AccessKey), SecretKey: string(cfg.Archive.SecretKey), CA: cfg.Archive.CA, DataDir: cfg.Data.Dir, Logger: log}
}

// Check makes each part check its own options in the same way as its constructor. So everything that a part would reject when the process
// starts is reported as an error in the configuration, with its position in the file. Check opens nothing.
func Check(cfg *configs.Config) error {
	if _, err := OpenTarget(context.Background(), cfg, slog.New(slog.DiscardHandler)); err != nil {
		key := "archive.url"
		if cfg.Archive.Endpoint != "" && strings.Contains(err.Error(), "endpoint") {
			key = "archive.endpoint"
		}
		return cfg.Refuse(key, err)
	}
	if _, err := NewLabeler(cfg); err != nil {
		return cfg.Refuse("paths.templates", err)
	}
	for key, text := range map[string]string{
		"archive.schedule": cfg.Archive.Schedule, "retention.schedule": cfg.Retention.Schedule,
		"report.schedule": cfg.Report.Schedule, "prune.schedule": cfg.Prune.Schedule,
	} {
		if err := uploader.ValidateSchedule(text); err != nil {
			return cfg.Refuse(key, err)
		}
	}
	return nil
}

// run does the work of the books process until ctx is done or the traffic process ends. The end of the traffic process closes listener.
// If ctx is done, it drains and archives everything before it returns.
func (b *books) run(ctx context.Context, listener net.Listener) error {
	loops, stopLoops := context.WithCancel(ctx)
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	b.stopLoops, b.damaged = stopLoops, make(chan struct{})
	b.loops.Go(func() {
		if err := b.collector.Run(loops); err != nil {
			// The store must be opened again. A new process does that; the parent starts it after this one has ended.
			b.logFailure("the drain loop failed; the books process ends, and the next one opens the store again", err)
			_ = listener.Close()
		}
	})
	b.loops.Go(func() {
		b.logFailure("the archive loop failed; nothing is archived until the next start", b.uploader.Run(loops))
	})
	b.loops.Go(func() {
		b.logFailure("the refill from the archive failed; the next start continues it", b.keepFilled(loops))
	})
	b.loops.Go(func() { b.failing.Run(loops) })
	var sideTasks sync.WaitGroup
	sideTasks.Go(func() {
		b.logFailure("cannot read the catalogue to check whether some objects are in former archives", b.logFormerArchives(background))
	})
	sideTasks.Go(func() {
		b.logFailure("the checkpoint loop failed; the next start replays more batches", b.store.Run(background))
	})

	if b.otlp != nil {
		sideTasks.Go(func() { b.otlp.Run(background) })
	}

	server := &http.Server{Handler: b.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(api.BoundWrites(listener)) }()
	select {
	case err := <-served:
		if errors.Is(err, net.ErrClosed) {
			b.log.Info("stopping: the traffic process has closed its connection")
		} else {
			b.log.Warn("stopping: the connection to the traffic process failed", "error", err)
		}
	case <-b.damaged:
		b.log.Error("stopping: the store is damaged; the next books process will set it aside, create an empty one and refill that from the archive")
	case <-ctx.Done():
		timeout, cancel := context.WithTimeout(context.Background(), b.cfg.Shutdown.Timeout.Std())
		defer cancel()
		done := b.finish(timeout)
		b.log.Info("stopped", done.Attrs()...)
	}
	stopLoops()
	b.backup.cancel() // a backup may have stopped the drain loop
	b.loops.Wait()
	_ = server.Close()
	stopBackground()
	sideTasks.Wait()
	return nil
}

// logFailure logs an error, unless the error only means that the process is ending.
func (b *books) logFailure(text string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		b.log.Error(text, "error", err)
	}
}

func (b *books) close() error { return b.store.Close() }

// finish drains the spool and archives everything, including the current hour, but stops when ctx is done.
func (b *books) finish(ctx context.Context) admin.Finished {
	b.stopLoops()
	b.backup.cancel()
	b.loops.Wait()
	var done admin.Finished
	drainErr := b.collector.Drain(ctx)
	result, archiveErr := b.uploader.Shutdown(ctx)
	done.Archived = result.Rows
	checkpointErr := b.store.Checkpoint()
	if b.otlp != nil {
		b.otlp.Flush(ctx)
	}
	totals, totalsErr := b.store.Totals()
	if totalsErr == nil {
		left := totals.Applied - totals.Archived
		done.Unarchived = &left
	}
	if err := errors.Join(drainErr, archiveErr, checkpointErr, totalsErr); err != nil {
		done.Problems = strings.ReplaceAll(err.Error(), "\n", "; ")
		b.log.Warn("cannot finish everything; the rest stays in the data directory", append(done.Attrs(), "error", done.Problems)...)
	}
	return done
}

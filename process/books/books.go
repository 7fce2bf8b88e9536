// Package books is the books process: it opens the store, drains the spool into it, makes snapshots, answers queries, archives, and runs the
// scheduled jobs. It puts the collector, the store and the uploader together under one configuration.
//
//   - start.go: the process from its start to its end, as the child of wayside run or beside it
//   - books.go: its parts, the loops that drive them, and the order in which they stop
//   - refill.go: fills a store again that began empty because the one before it was damaged
//   - handler.go: what it answers, to the traffic process and through that to everybody
//   - commands.go: what commands ask for
//   - jobs.go, forget.go, verify.go: what it does when asked or on schedule
//   - offline.go, serve.go: the same on a data directory that no wayside is using
//
// Package restore, below, makes data directories out of an archive.
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
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/uploader"
)

// books holds the parts of the books process.
type books struct {
	cfg       *configs.Config
	version   string // of the program; only of a process
	log       *slog.Logger
	store     *store.Store
	collector *collector.Collector // nil for a single job
	uploader  *uploader.Uploader
	targets   *uploader.Targets // of uploader

	refill refill // of a store that began empty where another was

	damaged     chan struct{} // closed when the store was found damaged; nil for one that is only looked at
	damagedOnce sync.Once

	verifying sync.Mutex // held while the store and the archive are verified for the traffic process

	capacity atomic.Pointer[collector.Capacity] // the last report; nil before the first

	loops     sync.WaitGroup // collector and uploader
	stopLoops context.CancelFunc
}

// open opens store and archive; source may be nil when nothing is to be drained. It starts nothing. What it refuses
// besides trouble with the disk, [Check] refuses before.
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

// build makes what works on the store.
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
		SnapshotWindow: cfg.Collector.Snapshot.Window.Std(), RoutesMax: cfg.Metrics.PathsMax,
		DataDir: cfg.Data.Dir, ArchiveDir: cfg.LocalArchive(), BytesMax: cfg.Data.BytesMax.Int64(), FreeMin: cfg.Data.FreeMin.Int64(),
		SpoolBytesMax: cfg.SpoolBytesMax(), Logger: b.log,
	})
	return err
}

// NewLabeler makes an empty path table of the configured size, with the configured templates.
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

// OpenTarget makes the target that the configuration names as its archive. It contacts no server.
func OpenTarget(ctx context.Context, cfg *configs.Config, log *slog.Logger) (uploader.Target, error) {
	return uploader.OpenTarget(ctx, cfg.ArchiveURL(), TargetOptions(cfg, log))
}

// TargetOptions are the options of the archive's target, and of those that a catalogue says were its former ones.
func TargetOptions(cfg *configs.Config, log *slog.Logger) uploader.TargetOptions {
	return uploader.TargetOptions{AccessKey: string(cfg.Archive.AccessKey), SecretKey: string(cfg.Archive.SecretKey), CA: cfg.Archive.CA, DataDir: cfg.Data.Dir, Logger: log}
}

// Check has each part that is built from the configuration look at its own options, as its constructor does: whatever
// one of them would refuse when a process starts is a wrong configuration, and has its place. Nothing is opened.
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

// run keeps the books until the traffic process goes away, which ends listener, or ctx is done, in which case everything
// is drained and archived first.
func (b *books) run(ctx context.Context, listener net.Listener) error {
	loops, stopLoops := context.WithCancel(ctx)
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	b.stopLoops, b.damaged = stopLoops, make(chan struct{})
	b.loops.Go(func() {
		if err := b.collector.Run(loops); err != nil {
			// The store must be opened again, which a new process does best: leaving makes the parent start one.
			b.ended("drain loop", err)
			_ = listener.Close()
		}
	})
	b.loops.Go(func() { b.ended("archive loop", b.uploader.Run(loops)) })
	b.loops.Go(func() { b.ended("refill from the archive", b.fillAgain(loops)) })
	var checkpoints sync.WaitGroup
	checkpoints.Go(func() { b.ended("look at the catalogue", b.logFormerArchives(background)) })
	checkpoints.Go(func() { b.ended("checkpoint loop", b.store.Run(background)) })

	server := &http.Server{Handler: b.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(api.BoundWrites(listener)) }()
	select {
	case err := <-served:
		if errors.Is(err, net.ErrClosed) {
			b.log.Info("leaving: the traffic process has closed its connection")
		} else {
			b.log.Warn("leaving: the connection to the traffic process failed", "error", err)
		}
	case <-b.damaged:
		b.log.Error("leaving: the store was found damaged; the next books process sets it aside and begins with an empty one, which is filled again from the archive")
	case <-ctx.Done():
		timeout, cancel := context.WithTimeout(context.Background(), b.cfg.Shutdown.Timeout.Std())
		defer cancel()
		done := b.finish(timeout)
		b.log.Info("stopped", done.Attrs()...)
	}
	stopLoops()
	b.loops.Wait()
	_ = server.Close()
	stopBackground()
	checkpoints.Wait()
	return nil
}

func (b *books) ended(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		b.log.Error(what+" ended", "error", err)
	}
}

func (b *books) close() error { return b.store.Close() }

// finish drains what the spool still holds and archives everything, the open hour included, as far as ctx lasts.
func (b *books) finish(ctx context.Context) admin.Finished {
	b.stopLoops()
	b.loops.Wait()
	var done admin.Finished
	drainErr := b.collector.Drain(ctx)
	result, archiveErr := b.uploader.Shutdown(ctx)
	done.Archived = result.Rows
	checkpointErr := b.store.Checkpoint()
	totals, totalsErr := b.store.Totals()
	if totalsErr == nil {
		left := totals.Applied - totals.Archived
		done.Unarchived = &left
	}
	if err := errors.Join(drainErr, archiveErr, checkpointErr, totalsErr); err != nil {
		done.Problems = strings.ReplaceAll(err.Error(), "\n", "; ")
		b.log.Warn("not everything could be finished; the rest stays in the data directory", append(done.Attrs(), "error", done.Problems)...)
	}
	return done
}

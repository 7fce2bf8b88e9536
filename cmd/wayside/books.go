package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/internal/secure"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/uploader"
)

// Paths that the traffic process asks for, besides those of the contract.
const (
	pathView   = admin.InternalPrefix + "view"
	pathFinish = admin.InternalPrefix + "finish"
	pathStatus = admin.InternalPrefix + "status"
	pathJob    = "/-/job/"
	// pathCatalogue streams the archive catalogue to the archive commands.
	pathCatalogue = "/-/catalogue"
)

// books holds the parts of the books process.
type books struct {
	cfg       *configs.Config
	log       *slog.Logger
	store     *store.Store
	collector *collector.Collector // nil for a single job
	uploader  *uploader.Uploader

	verifying sync.Mutex // held while the store and the archive are verified for the traffic process

	capacity atomic.Pointer[collector.Capacity] // the last report; nil before the first

	loops     sync.WaitGroup // collector and uploader
	stopLoops context.CancelFunc
}

// openBooks opens store and archive; source may be nil when nothing is to be drained. It starts nothing. What it refuses
// besides trouble with the disk, [checkParts] refuses before.
func openBooks(ctx context.Context, cfg *configs.Config, source collector.Source, log *slog.Logger) (*books, error) {
	dir := cfg.Data.Dir
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, datadir.StoreDir), QuarantineDir: filepath.Join(dir, datadir.Quarantine), Logger: log,
		Room: collector.Room(collector.Options{
			DataDir: dir, ArchiveDir: cfg.LocalArchive(), BytesMax: cfg.Data.BytesMax.Int64(), FreeMin: cfg.Data.FreeMin.Int64(), SpoolBytesMax: cfg.SpoolBytesMax(),
		}),
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
func (b *books) build(ctx context.Context, source collector.Source) (err error) {
	cfg := b.cfg
	if b.uploader, err = b.newUploader(ctx); err != nil || source == nil {
		return err
	}
	labeler, err := newLabeler(cfg)
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

func newLabeler(cfg *configs.Config) (*paths.Labeler, error) {
	return paths.New(paths.Options{Max: cfg.Paths.Max, HostsMax: cfg.Paths.HostsMax, Templates: cfg.Paths.Templates})
}

func (b *books) newUploader(ctx context.Context) (*uploader.Uploader, error) {
	cfg, s, log := b.cfg, b.store, b.log
	target, err := openTarget(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	var fields []string
	if cfg.Record.TraceID {
		fields = append(fields, uploader.FieldTraceID)
	}
	return uploader.New(uploader.Options{
		Source: s, Catalogue: s, Target: target, Targets: uploader.NewTargets(target, targetOptions(cfg, log)), Service: cfg.Service, Instance: cfg.Instance, Fields: fields, Omit: cfg.Archive.Omit,
		After: cfg.Archive.After.OrOff(), ObjectBytes: cfg.Archive.ObjectBytes.Int64(), RetentionEvents: cfg.Retention.Events.OrOff(),
		ArchiveSchedule: cfg.Archive.Schedule, RetentionSchedule: cfg.Retention.Schedule,
		Jobs: b.furtherJobs(), Memory: s, Expire: cfg.ArchiveExpiry(), RequestTimeout: cfg.Archive.Timeout.Std(), Logger: log,
	})
}

func openTarget(ctx context.Context, cfg *configs.Config, log *slog.Logger) (uploader.Target, error) {
	return uploader.OpenTarget(ctx, cfg.ArchiveURL(), targetOptions(cfg, log))
}

func targetOptions(cfg *configs.Config, log *slog.Logger) uploader.TargetOptions {
	return uploader.TargetOptions{AccessKey: string(cfg.Archive.AccessKey), SecretKey: string(cfg.Archive.SecretKey), CA: cfg.Archive.CA, DataDir: cfg.Data.Dir, Logger: log}
}

// run keeps the books until the traffic process goes away, which ends listener, or ctx is done, in which case everything
// is drained and archived first.
func (b *books) run(ctx context.Context, listener net.Listener) error {
	loops, stopLoops := context.WithCancel(ctx)
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	b.stopLoops = stopLoops
	b.loops.Go(func() {
		if err := b.collector.Run(loops); err != nil {
			// The store must be opened again, which a new process does best: leaving makes the parent start one.
			b.ended("drain loop", err)
			_ = listener.Close()
		}
	})
	b.loops.Go(func() { b.ended("archive loop", b.uploader.Run(loops)) })
	var checkpoints sync.WaitGroup
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
	case <-ctx.Done():
		timeout, cancel := context.WithTimeout(context.Background(), b.cfg.Shutdown.Timeout.Std())
		defer cancel()
		done := b.finish(timeout)
		b.log.Info("stopped", done.attrs()...)
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

// finished is what is left after the last drain and archive.
type finished struct {
	Archived   uint64  `json:"archived"`             // rows archived by the last run
	Unarchived *uint64 `json:"unarchived,omitempty"` // responses applied and not archived; nil: the store could not say
	Problems   string  `json:"problems,omitempty"`
}

// attrs are the figures for a log line. What is not known is left out: 0 would say that all is archived.
func (f *finished) attrs() []any {
	out := []any{"archived", f.Archived}
	if f.Unarchived != nil {
		out = append(out, "unarchived", *f.Unarchived)
	}
	return out
}

// finish drains what the spool still holds and archives everything, the open hour included, as far as ctx lasts.
func (b *books) finish(ctx context.Context) finished {
	b.stopLoops()
	b.loops.Wait()
	var done finished
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
		b.log.Warn("not everything could be finished; the rest stays in the data directory", append(done.attrs(), "error", done.Problems)...)
	}
	return done
}

// job runs one scheduled job now.
func (b *books) job(ctx context.Context, name string, all bool) (jobDone, error) {
	var result uploader.Result
	var err error
	switch name {
	case "archive":
		result, err = b.uploader.ArchiveNow(ctx, all)
	case "clean":
		result, err = b.uploader.CleanOnce(ctx)
	case "report", "prune":
		result, err = b.uploader.RunJob(ctx, name)
	default:
		return jobDone{}, fmt.Errorf("no job %q: want one of %v", name, jobNames)
	}
	done := jobDone{Job: name, Objects: result.Objects, Rows: result.Rows, Bytes: result.Bytes, Expired: result.Expired}
	if name == "archive" && !all {
		if done.Young = b.uploader.Status().PendingEvents; done.Young > 0 {
			done.After = b.cfg.Archive.After.String()
		}
	}
	if name == "report" {
		done.Capacity = b.capacity.Load()
	}
	return done, err
}

// handler answers what the traffic process relays or asks for itself.
func (b *books) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", api.NewHandler(api.Options{
		Rows: b.store, Plans: b.store, Events: b.store, Snapshots: b.collector.Snapshots(), Live: b.collector.Live(),
		Service: b.cfg.Service, Instance: b.cfg.Instance, Rules: b.collector.Rules,
		Storage: b.collector.Storage, Gatherer: prometheus.Gatherers{b.collector.Registry(), b.uploadMetrics()}, Logger: b.log,
	}))
	mux.HandleFunc("GET "+pathView, func(w http.ResponseWriter, r *http.Request) {
		view, err := b.collector.View(r.Context())
		reply(w, view, err)
	})
	mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, b.archiveStatus(), nil)
	})
	mux.HandleFunc("GET "+admin.PathPing, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /api/v1/jobs", asks(func(w http.ResponseWriter, r *http.Request, _ query.Values) { b.jobs(w, r) }))
	mux.HandleFunc("GET "+pathCatalogue, asks(func(w http.ResponseWriter, r *http.Request, _ query.Values) { b.serveCatalogue(w, r) }))
	mux.HandleFunc("GET "+pathBooksConfig, b.serveConfig)
	mux.HandleFunc("GET "+pathVerifyBooks, func(w http.ResponseWriter, r *http.Request) {
		b.verifying.Lock() // one whose client left may not have ended yet
		defer b.verifying.Unlock()
		checks, err := b.verify(r.Context(), r.URL.Query().Get("local") == "true")
		reply(w, checks, err)
	})
	mux.HandleFunc("POST "+pathFinish, func(w http.ResponseWriter, r *http.Request) { reply(w, b.finish(r.Context()), nil) })
	mux.HandleFunc("POST "+pathForgetBooks, b.serveForget)
	mux.HandleFunc("POST "+pathJob+"{name}", asks(func(w http.ResponseWriter, r *http.Request, v query.Values) {
		all, err := v.Flag("all")
		if err != nil {
			refuse(w, err)
			return
		}
		done, err := b.job(r.Context(), r.PathValue("name"), all)
		reply(w, done, err)
	}, "all"))
	return secure.Handler(mux)
}

// asks reads the query string of a request strictly.
func asks(fn func(http.ResponseWriter, *http.Request, query.Values), known ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		values, err := query.Parse(r.URL.RawQuery, known...)
		if err != nil {
			refuse(w, err)
			return
		}
		fn(w, r, values)
	}
}

func refuse(w http.ResponseWriter, err error) {
	body, _ := json.Marshal(map[string]string{"error": err.Error()}) // cannot fail: a string
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(body) // a client that left is its own affair
}

// archiveStatus is the archive's line in /readyz?verbose.
type archiveStatus struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (b *books) archiveStatus() archiveStatus {
	s := b.uploader.Status()
	if job := s.Archive; job.LastError != "" {
		return archiveStatus{Detail: fmt.Sprintf("%s; failed %s, next try %s; nothing is deleted locally until it succeeds",
			job.LastError, terminal.Counted(job.ConsecutiveFailures, "time"), job.NextTry.UTC().Format(time.RFC3339))}
	}
	if s.Unusable != "" {
		return archiveStatus{Detail: "cannot be used: " + s.Unusable + "; events stay in the data directory until it can"}
	}
	return archiveStatus{true, s.Target + ", " + terminal.Counted(s.PendingEvents, "event") + " waiting"}
}

func reply(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		status, v = http.StatusInternalServerError, map[string]string{"error": err.Error()}
	}
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is its own affair
}

// uploadMetrics are the archive's metrics.
func (b *books) uploadMetrics() prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	add := func(name, help string, value func(uploader.Status) float64, counter bool) {
		read := func() float64 { return value(b.uploader.Status()) }
		if counter {
			registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wayside_archive_" + name, Help: help}, read))
			return
		}
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wayside_archive_" + name, Help: help}, read))
	}
	add("objects_total", "Objects archived and verified by this process.", func(s uploader.Status) float64 { return float64(s.ArchivedObjects) }, true)
	add("rows_total", "Responses archived and verified by this process.", func(s uploader.Status) float64 { return float64(s.ArchivedRows) }, true)
	add("bytes_total", "Compressed bytes archived by this process.", func(s uploader.Status) float64 { return float64(s.ArchivedBytes) }, true)
	add("deleted_rows_total", "Local events deleted by retention in this process.", func(s uploader.Status) float64 { return float64(s.DeletedRows) }, true)
	add("pending_events", "Responses applied and not yet in a plan when the job last looked.", func(s uploader.Status) float64 { return float64(s.PendingEvents) }, false)
	add("open_plans", "Plans that are stored and not verified.", func(s uploader.Status) float64 { return float64(s.OpenPlans) }, false)
	add("consecutive_failures", "Archive jobs that failed since the last success.", func(s uploader.Status) float64 { return float64(s.Archive.ConsecutiveFailures) }, false)
	add("last_success_timestamp_seconds", "When the archive job last succeeded; 0 if it has not.", func(s uploader.Status) float64 {
		if s.Archive.LastSuccess.IsZero() {
			return 0
		}
		return float64(s.Archive.LastSuccess.Unix())
	}, false)
	for _, name := range jobNames {
		labels := prometheus.Labels{"job_name": name}
		gauge := func(metric, help string, value func(uploader.JobStatus) float64) {
			registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wayside_job_" + metric, Help: help, ConstLabels: labels},
				func() float64 { s := b.uploader.Status(); return value(s.Job(name)) }))
		}
		gauge("last_success_timestamp_seconds", "When the job last succeeded in this process; 0 if it has not.", func(s uploader.JobStatus) float64 {
			if s.LastSuccess.IsZero() {
				return 0
			}
			return float64(s.LastSuccess.Unix())
		})
		gauge("consecutive_failures", "Runs that failed since the last success.", func(s uploader.JobStatus) float64 { return float64(s.ConsecutiveFailures) })
		gauge("last_duration_seconds", "How long the last run took.", func(s uploader.JobStatus) float64 { return s.Last.Duration.Seconds() })
	}
	return registry
}

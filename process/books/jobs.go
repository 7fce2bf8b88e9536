package books

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/failing"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/uploader"
)

// JobNames are the names of the jobs in the order in which they are shown.
var JobNames = []string{uploader.JobArchive, uploader.JobClean, "report", "prune"}

// furtherJobs returns the jobs that the uploader runs in addition to its own jobs.
func (b *books) furtherJobs() []uploader.Job {
	return []uploader.Job{
		{Name: "report", Schedule: b.cfg.Report.Schedule, Run: func(ctx context.Context, _ *uploader.Result) error {
			_, err := b.report(ctx)
			return err
		}},
		{Name: "prune", Schedule: b.cfg.Prune.Schedule, Run: b.prune},
	}
}

// report measures the data directory and logs the result, as a warning if a limit is near.
func (b *books) report(ctx context.Context) (*collector.Capacity, error) {
	c, err := collector.MeasureCapacity(ctx, collector.CapacityOptions{
		Store: b.store, DataDir: b.cfg.Data.Dir, ArchiveDir: b.cfg.LocalArchive(),
		BytesMax: b.cfg.Data.BytesMax.Int64(), FreeMin: b.cfg.Data.FreeMin.Int64(), SpoolBytesMax: b.cfg.SpoolBytesMax(),
	})
	if err != nil {
		return nil, err
	}
	b.capacity.Store(c)
	args := []any{"bytes", c.BytesTotal, "bytes_max", c.BytesMax, "free", c.FreeBytes, "bytes_per_day", c.GrowthPerDay["total"]}
	if c.DaysLeft == nil || *c.DaysLeft > float64(b.cfg.Report.WarnDays) {
		b.log.Info("size and growth of the data directory", args...)
		return c, nil
	}
	b.log.Warn("the data directory will soon be full; responses will then be counted as dropped instead of recorded: raise "+c.Limit+
		", lower retention.events, or give it more disk", append(args, "days_left", fmt.Sprintf("%.1f", *c.DaysLeft), "limit", c.Limit)...)
	return c, nil
}

// metrics returns the metrics of the report, the refill and the export.
func (b *books) metrics() prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wayside_data_full_in_seconds", Help: "Seconds until the data directory reaches a limit, at the growth rate in the last report; +Inf if it is not growing or not known.",
	}, func() float64 {
		if c := b.capacity.Load(); c != nil && c.DaysLeft != nil {
			return *c.DaysLeft * 24 * time.Hour.Seconds()
		}
		return math.Inf(1)
	}))
	for _, kind := range []failing.Kind{failing.Errors, failing.Slow} {
		if b.failing == nil {
			break // nothing is recorded
		}
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wayside_paths_failing", Help: "Paths that fail now, or are slower than usual (GET /api/v1/failing).", ConstLabels: prometheus.Labels{"kind": string(kind)},
		}, func() float64 { return float64(b.failing.Count(kind)) }))
	}
	registry.MustRegister(markMetrics{b.store})
	if b.otlp != nil {
		registry.MustRegister(b.otlp)
	}
	b.refillMetrics(registry)
	return registry
}

// markMetrics exports the latest mark of each kind, for annotations in Grafana. So there are never more than four series.
type markMetrics struct{ store *store.Store }

var descMark = prometheus.NewDesc("wayside_mark_timestamp_seconds", "Time of the latest mark of each kind, in seconds since 1970.", []string{"kind", "mark"}, nil)

// Describe implements [prometheus.Collector].
func (markMetrics) Describe(to chan<- *prometheus.Desc) { to <- descMark }

// Collect implements [prometheus.Collector].
func (m markMetrics) Collect(to chan<- prometheus.Metric) {
	for _, mark := range m.store.LatestMarks() {
		to <- prometheus.MustNewConstMetric(descMark, prometheus.GaugeValue, float64(mark.Time.UnixMicro())/1e6, mark.Kind, mark.Text)
	}
}

// staleAfter is the age at which a temporary file is certainly not in use.
const staleAfter = 24 * time.Hour

// prune removes things that are no longer needed: capacity samples that no report uses, and temporary files that a crash has left
// in a directory archive and that no later write has replaced.
func (b *books) prune(ctx context.Context, r *uploader.Result) error {
	n, err := collector.PruneCapacity(b.store, time.Now())
	if err != nil {
		return err
	}
	r.Objects = n
	dir := b.cfg.LocalArchive()
	if dir == "" {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has been archived yet
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), "v1", func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if d.IsDir() && !catalogue.IsArchiveFolder(path) {
			return fs.SkipDir // the folder does not belong to wayside
		}
		info, err := d.Info()
		if err != nil || !strings.HasSuffix(path, ".tmp") || !catalogue.IsArchiveFile(path) || time.Since(info.ModTime()) < staleAfter {
			return nil //nolint:nilerr // the file has been removed since it was listed
		}
		r.Objects++
		r.Bytes += uint64(info.Size())
		return root.Remove(path)
	})
}

// JobDone is the result of a job.
type JobDone struct {
	Job     string `json:"job"`
	Objects int    `json:"objects"` // number of objects that were archived, or whose local events were deleted
	Rows    uint64 `json:"rows"`
	Bytes   uint64 `json:"bytes"`
	Expired int    `json:"expired,omitempty"` // number of objects removed from the archive
	// Spooled is the number of responses that are still in the spool and therefore neither applied nor archived. It is known only if no
	// wayside is running.
	Spooled uint64 `json:"spooled,omitempty"`

	// Young is the number of events that are not archived because they were applied less than After (archive.after) ago.
	Young uint64 `json:"young,omitempty"`
	After string `json:"archive_after,omitempty"`

	Capacity *collector.Capacity `json:"capacity,omitempty"` // result of the report job
}

// job runs one scheduled job now.
func (b *books) job(ctx context.Context, name string, all bool) (JobDone, error) {
	var result uploader.Result
	var err error
	switch name {
	case uploader.JobArchive:
		result, err = b.uploader.ArchiveNow(ctx, all)
	case uploader.JobClean:
		result, err = b.uploader.CleanOnce(ctx)
	case "report", "prune":
		result, err = b.uploader.RunJob(ctx, name)
	default:
		return JobDone{}, fmt.Errorf("no job %q: want one of %v", name, JobNames)
	}
	done := JobDone{Job: name, Objects: result.Objects, Rows: result.Rows, Bytes: result.Bytes, Expired: result.Expired}
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

// jobInfo is one job in the response to GET /api/v1/jobs.
type jobInfo struct {
	Name     string    `json:"name"`
	Schedule string    `json:"schedule"`
	Running  bool      `json:"running"`
	Next     time.Time `json:"next,omitzero"`
	Failing  int       `json:"failing"` // failures since the last success
	Error    string    `json:"error,omitempty"`
	Served   time.Time `json:"served,omitzero"` // everything that was due by this time has been done
	Runs     uint64    `json:"runs"`            // number of runs since the store was created
	Failures uint64    `json:"failures"`
	Recent   []jobRun  `json:"recent,omitempty"` // newest first
}

// jobRun is a [catalogue.JobRun] in the API.
type jobRun struct {
	Started  time.Time `json:"started"`
	Duration int64     `json:"duration_us"`
	Objects  int       `json:"objects"`
	Rows     uint64    `json:"rows"`
	Bytes    uint64    `json:"bytes"`
	Error    string    `json:"error,omitempty"`
}

func recentRuns(state *catalogue.JobState) []jobRun {
	var out []jobRun
	for _, r := range slices.Backward(state.Recent) {
		out = append(out, jobRun{r.Started, r.Duration.Microseconds(), r.Objects, r.Rows, r.Bytes, r.Error})
	}
	return out
}

// jobs serves GET /api/v1/jobs: the schedules, and the results of the last runs.
func (b *books) jobs(w http.ResponseWriter, _ *http.Request) {
	status := b.uploader.Status()
	schedules := schedulesOf(b.cfg)
	var answer struct {
		Jobs []jobInfo `json:"jobs"`
	}
	for _, name := range JobNames {
		state, err := b.store.Job(name)
		if err != nil {
			reply(w, nil, err)
			return
		}
		s := status.Jobs[name]
		answer.Jobs = append(answer.Jobs, jobInfo{
			Name: name, Schedule: schedules[name], Running: s.Running, Next: s.NextTry, Failing: s.ConsecutiveFailures, Error: s.LastError,
			Served: state.Served, Runs: state.Runs, Failures: state.Failures, Recent: recentRuns(&state),
		})
	}
	reply(w, answer, nil)
}

func schedulesOf(cfg *configs.Config) map[string]string {
	return map[string]string{
		"archive": cfg.Archive.Schedule, "clean": cfg.Retention.Schedule, "report": cfg.Report.Schedule, "prune": cfg.Prune.Schedule,
	}
}

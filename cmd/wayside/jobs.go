package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/uploader"
)

// The jobs in the order in which they are shown.
var jobNames = []string{"archive", "clean", "report", "prune"}

// furtherJobs are those that run by the uploader's clock and are not its own.
func (b *books) furtherJobs() []uploader.Job {
	return []uploader.Job{
		{Name: "report", Schedule: b.cfg.Report.Schedule, Run: func(ctx context.Context, _ *uploader.Result) error {
			_, err := b.report(ctx)
			return err
		}},
		{Name: "prune", Schedule: b.cfg.Prune.Schedule, Run: b.prune},
	}
}

// report measures the data directory and says in the log what it found, as a warning when a limit is near.
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
		b.log.Info("capacity", args...)
		return c, nil
	}
	b.log.Warn("the data directory will soon be full; then responses are dropped from the books and counted: raise "+c.Limit+
		", lower retention.events, or give it more disk", append(args, "days_left", fmt.Sprintf("%.1f", *c.DaysLeft), "limit", c.Limit)...)
	return c, nil
}

// staleAfter is how old a temporary file must be to be nobody's.
const staleAfter = 24 * time.Hour

// prune removes what serves nobody any more: capacity samples that no report looks at, and temporary files that a crash
// left in a directory archive under a key that is never written again.
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
		return nil // nothing archived yet
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
			return fs.SkipDir // somebody else's
		}
		info, err := d.Info()
		if err != nil || !strings.HasSuffix(path, ".tmp") || !catalogue.IsArchiveFile(path) || time.Since(info.ModTime()) < staleAfter {
			return nil //nolint:nilerr // vanished meanwhile
		}
		r.Objects++
		r.Bytes += uint64(info.Size()) //nolint:gosec // not negative
		return root.Remove(path)
	})
}

// jobInfo is one job in the answer of GET /api/v1/jobs.
type jobInfo struct {
	Name     string    `json:"name"`
	Schedule string    `json:"schedule"`
	Running  bool      `json:"running"`
	Next     time.Time `json:"next,omitzero"`
	Failing  int       `json:"failing"` // failures since the last success
	Error    string    `json:"error,omitempty"`
	Served   time.Time `json:"served,omitzero"` // everything that was due until then has been done
	Runs     uint64    `json:"runs"`            // since the store was made
	Failures uint64    `json:"failures"`
	Recent   []jobRun  `json:"recent,omitempty"` // the newest first
}

// jobRun is a [catalogue.JobRun] as the API gives it.
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

// jobs answers GET /api/v1/jobs: what is scheduled, and how the last runs went.
func (b *books) jobs(w http.ResponseWriter, _ *http.Request) {
	status := b.uploader.Status()
	schedules := schedulesOf(b.cfg)
	var answer struct {
		Jobs []jobInfo `json:"jobs"`
	}
	for _, name := range jobNames {
		state, err := b.store.Job(name)
		if err != nil {
			reply(w, nil, err)
			return
		}
		s := status.Job(name)
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

// printCapacity writes the capacity report as a table.
func printCapacity(out io.Writer, c *collector.Capacity) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	perDay := func(part string) string {
		if c.GrowthPerDay == nil {
			return "-"
		}
		return fmt.Sprintf("%+d", c.GrowthPerDay[part])
	}
	fmt.Fprintln(w, "PART\tBYTES\tA DAY\t")
	for _, part := range slices.Sorted(maps.Keys(c.Bytes)) {
		fmt.Fprintf(w, "%s\t%d\t%s\t\n", part, c.Bytes[part], perDay(part))
	}
	fmt.Fprintf(w, "total\t%d\t%s\t\n", c.BytesTotal, perDay("total"))
	fmt.Fprintln(w, "\t\t\t\nEVENTS\tCOUNT\t\t")
	for _, part := range slices.Sorted(maps.Keys(c.Counts)) {
		fmt.Fprintf(w, "%s\t%d\t\t\n", part, c.Counts[part])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "limit %d bytes (data.bytes_max), %d free on the filesystem, %d to be left (data.free_min)\n", c.BytesMax, c.FreeBytes, c.FreeMin)
	switch {
	case c.DaysLeft != nil:
		fmt.Fprintf(out, "%s is reached in %.1f days at this growth\n", c.Limit, *c.DaysLeft)
	case c.GrowthPerDay == nil:
		fmt.Fprintln(out, "No growth yet: it needs two reports an hour apart")
	default:
		fmt.Fprintln(out, "nothing grows")
	}
	return nil
}

// Package rig is shared by the benchmarks that put a load on the real binary. It contains their flags, an origin,
// wayside in front of it, loads, and the rows of their evidence tables.
package rig

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// stopTimeout limits the time for stopping a wayside. Only a failure takes that long.
const stopTimeout = time.Minute

// Options are the flags that all benchmarks have.
type Options struct {
	Rounds   int
	Each     time.Duration
	Dir      string
	Evidence string
}

// Flags declares the flags, with defaults for -each, -dir and -evidence.
func (o *Options) Flags(each time.Duration, dir, evidence string) {
	flag.IntVar(&o.Rounds, "rounds", 3, "number of rounds; in a round each contestant has one turn")
	flag.DurationVar(&o.Each, "each", each, "length of a turn")
	flag.StringVar(&o.Dir, "dir", dir, "folder in which the benchmark creates its own and removes it afterwards; empty: the system's temporary folder")
	flag.StringVar(&o.Evidence, "evidence", evidence, "file to which the result is appended; empty: none")
}

// Main parses the flags and runs a benchmark until it ends or is interrupted. It exits with 1 if the benchmark fails.
func Main(name string, run func(context.Context) error) {
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Rig is a folder with a wayside binary, and an origin in this process.
type Rig struct {
	Dir    string
	Binary string
	Origin string // URL of the origin
	Commit string // commit of the code under test

	stopOrigin func()
	running    []*e2e.Wayside
}

// New builds wayside in a new folder below parent, and starts the origin. Close ends everything.
func New(ctx context.Context, parent string) (*Rig, error) {
	r := &Rig{Commit: e2e.Commit()} // read first, because the new folder can make the work tree differ from the commit
	var err error
	if r.Dir, err = os.MkdirTemp(parent, ".wayside-bench-"); err != nil {
		return nil, err
	}
	if r.Dir, err = filepath.Abs(r.Dir); err == nil {
		if r.Binary, err = e2e.Build(ctx, r.Dir); err == nil {
			r.Origin, r.stopOrigin, err = e2e.StartOrigin()
		}
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// Start starts a wayside in front of the origin. Its data is in a folder with the given name.
func (r *Rig) Start(ctx context.Context, name string, env []string, args ...string) (*e2e.Wayside, error) {
	listen, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	w := &e2e.Wayside{
		Binary: r.Binary, DataDir: filepath.Join(r.Dir, name), Listen: listen, Log: io.Discard,
		Args: append([]string{"--upstream", r.Origin}, args...), Env: env,
	}
	r.running = append(r.running, w)
	return w, w.Start(ctx)
}

// End stops a wayside and removes its data.
func (r *Rig) End(w *e2e.Wayside) error {
	r.running = slices.DeleteFunc(r.running, func(other *e2e.Wayside) bool { return other == w })
	return errors.Join(w.Stop(stopTimeout), os.RemoveAll(w.DataDir))
}

// Close stops every wayside and the origin, and removes the folder.
func (r *Rig) Close() error {
	var errs []error
	for _, w := range slices.Clone(r.running) {
		errs = append(errs, r.End(w))
	}
	if r.stopOrigin != nil {
		r.stopOrigin()
	}
	return errors.Join(append(errs, os.RemoveAll(r.Dir))...)
}

// Load sends requests whose responses must come from the origin. No request may fail.
func Load(ctx context.Context, o load.Options) (*load.Report, error) {
	o.Verify = load.ExpectBody(http.StatusOK, []byte(e2e.OriginBody))
	r, err := load.Run(ctx, o)
	if err == nil && r.FailedTotal() > 0 {
		err = fmt.Errorf("%d requests failed: %v", r.FailedTotal(), r.Errors)
	}
	return r, err
}

// LatencyCells returns the table cells for requests per second, p50, p99 and p99.9, each as the median of several turns.
func LatencyCells(turns []*load.Report) string {
	rate := MedianOf(turns, (*load.Report).PerSecond)
	at := func(q float64) time.Duration {
		return time.Duration(MedianOf(turns, func(r *load.Report) float64 { return float64(r.Latency.Quantile(q)) })).Round(time.Microsecond)
	}
	return fmt.Sprintf("%.0f | %v | %v | %v", rate, at(0.5), at(0.99), at(0.999))
}

// Row prints a row of the evidence table and appends it to the file. The row begins with the time and the commit.
func (r *Rig) Row(file, head, format string, args ...any) error {
	row := fmt.Sprintf("| %s | %s | ", time.Now().UTC().Format("2006-01-02 15:04"), r.Commit) + fmt.Sprintf(format, args...) + " |"
	fmt.Println(row)
	return e2e.AppendEvidence(file, head, row)
}

// MedianOf returns the median of a figure over the items.
func MedianOf[T any](items []T, figure func(T) float64) float64 {
	values := make([]float64, 0, len(items))
	for _, item := range items {
		values = append(values, figure(item))
	}
	return Median(values)
}

// Median returns the middle value, or the mean of the two middle ones, or 0 if there are no values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

var pendingLine = regexp.MustCompile(`(?m)^wayside_spool_pending_events (\S+)$`)

// PendingEvents returns the number of events in the spool of a wayside.
func PendingEvents(ctx context.Context, w *e2e.Wayside) (uint64, error) {
	metrics, err := w.Ask(ctx, http.MethodGet, "/metrics")
	if err != nil {
		return 0, err
	}
	match := pendingLine.FindSubmatch(metrics)
	if match == nil {
		return 0, errors.New("the metrics have no wayside_spool_pending_events")
	}
	n, err := strconv.ParseFloat(string(match[1]), 64)
	return uint64(n), err
}

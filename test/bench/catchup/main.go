// Command catchup measures what a books process that catches up does to traffic, and what its niceness changes: a backlog is
// made while no books process runs, then one is started under a steady load, and the requests of the next seconds are timed.
// The ways take turns, each on a new data directory. It appends the medians to docs/evidence/catchup.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
)

const evidenceHead = `# Evidence: catching up beside traffic

What a books process that catches up does to requests, by its niceness (` + "`go run ./test/bench/catchup`" + `; ADR 53): medians of turns in
one run; client, origin and wayside on one machine. The latencies are those of the first seconds from the start of the books
process (-each); "none" is the same without a books process.

| when (UTC) | commit | niceness | backlog | requests a second | p50 | p99 | 99.9 % | caught up after |
|---|---|---|---|---|---|---|---|---|
`

type options struct {
	rounds      int
	build, each time.Duration
	rate        float64
	dir         string
	evidence    string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each")
	flag.DurationVar(&o.build, "build", 6*time.Second, "how long to make a backlog, at full speed")
	flag.DurationVar(&o.each, "each", 3*time.Second, "how long to time requests")
	flag.Float64Var(&o.rate, "rate", 10_000, "requests a second while timing; 0: full speed")
	flag.StringVar(&o.dir, "dir", ".", "folder on the disk to measure; a folder is made in it and removed")
	flag.StringVar(&o.evidence, "evidence", "docs/evidence/catchup.md", "file to append the result to; empty: none")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "catchup:", err)
		os.Exit(1)
	}
}

// ways are values of collector.nice; none starts no books process.
var ways = []string{"none", "0", "5", "10"}

type result struct {
	load    *load.Report
	backlog uint64
	took    time.Duration // until the spool was empty but for the present second; 0 for none
}

func run(ctx context.Context, o options) error {
	commit := e2e.Commit() // before there is a folder of ours in the tree
	dir, err := os.MkdirTemp(o.dir, ".catchup-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, err := e2e.Build(ctx, dir)
	if err != nil {
		return err
	}
	origin, stop, err := e2e.StartOrigin()
	if err != nil {
		return err
	}
	defer stop()
	results := map[string][]*result{}
	for round := range o.rounds {
		for _, way := range ways {
			data := filepath.Join(dir, fmt.Sprintf("%s-%d", way, round))
			r, err := turn(ctx, o, binary, data, origin, way)
			if err != nil {
				return fmt.Errorf("niceness %s: %w", way, err)
			}
			results[way] = append(results[way], r)
			_ = os.RemoveAll(data)
		}
	}
	for _, way := range ways {
		if err := say(o.evidence, commit, way, results[way]); err != nil {
			return err
		}
	}
	return nil
}

func turn(ctx context.Context, o options, binary, data, upstream, way string) (_ *result, err error) {
	listen, err := e2e.FreeAddress()
	if err != nil {
		return nil, err
	}
	env := []string{"WAYSIDE_DATA_FREE_MIN=0", "WAYSIDE_SPOOL_BYTES_MAX=1GiB", "WAYSIDE_DATA_DIR=" + data}
	w := &e2e.Wayside{
		Binary: binary, DataDir: data, Listen: listen, Log: io.Discard, Args: []string{"--upstream", upstream, "--no-collector"}, Env: env,
	}
	if err := w.Start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Stop(30*time.Second)) }()
	if _, err := load.Run(ctx, load.Options{Address: listen, Connections: 64, Duration: o.build}); err != nil {
		return nil, err
	}
	r := &result{}
	if r.backlog, err = waiting(w.Info().Admin); err != nil {
		return nil, err
	}
	books, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	if way != "none" {
		cmd := exec.CommandContext(books, binary, "collect")
		cmd.Env = append(append(os.Environ(), env...), "WAYSIDE_COLLECTOR_NICE="+way)
		go func() { ended <- cmd.Run() }()
		go func() { r.took = untilCaughtUp(books, w.Info().Admin, uint64(max(o.rate, 10_000))) }()
	} else {
		ended <- nil
	}
	r.load, err = load.Run(ctx, load.Options{Address: listen, Connections: 64, Duration: o.each, Rate: o.rate, FirstNonce: 1 << 30})
	stop()
	<-ended // killed, so with an error
	if err == nil && r.load.FailedTotal() > 0 {
		err = fmt.Errorf("%d requests failed: %v", r.load.FailedTotal(), r.load.Errors)
	}
	if err == nil && way != "none" && r.took == 0 {
		err = errors.New("it did not catch up in the time: see -each")
	}
	return r, err
}

func untilCaughtUp(ctx context.Context, admin string, left uint64) time.Duration {
	for began := time.Now(); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if n, err := waiting(admin); err == nil && n <= left {
			return time.Since(began)
		}
	}
	return 0
}

var pendingLine = regexp.MustCompile(`(?m)^wayside_spool_pending_events (\S+)$`)

// waiting reads from the metrics how many events wait.
func waiting(admin string) (uint64, error) {
	resp, err := http.Get(admin + "/metrics") //nolint:noctx // on loopback, in a benchmark
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	m := pendingLine.FindSubmatch(body)
	if m == nil {
		return 0, errors.New("no wayside_spool_pending_events in the metrics")
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	return uint64(n), err
}

func say(evidence, commit, way string, turns []*result) error {
	of := func(fn func(*result) float64) float64 { return median(turns, fn) }
	at := func(q float64) time.Duration {
		return time.Duration(of(func(r *result) float64 { return float64(r.load.Latency.Quantile(q)) })).Round(time.Microsecond)
	}
	took := "–"
	if way != "none" {
		took = time.Duration(of(func(r *result) float64 { return float64(r.took) })).Round(10 * time.Millisecond).String()
	}
	row := fmt.Sprintf("| %s | %s | %s | %.0f | %.0f | %v | %v | %v | %s |", time.Now().UTC().Format("2006-01-02 15:04"), commit, way,
		of(func(r *result) float64 { return float64(r.backlog) }),
		of(func(r *result) float64 { return float64(r.load.Completed) / r.load.Elapsed.Seconds() }), at(0.5), at(0.99), at(0.999), took)
	fmt.Println(row)
	return e2e.AppendEvidence(evidence, evidenceHead, row)
}

func median(turns []*result, of func(*result) float64) float64 {
	all := make([]float64, 0, len(turns))
	for _, r := range turns {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

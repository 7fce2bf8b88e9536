// Command sync measures spool.sync: request beside interval, in one run: requests a second and latency through wayside, both on
// the same disk, taking turns, at several numbers of connections. It appends the medians to docs/evidence/sync.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
)

const evidenceHead = `# Evidence: spool.sync

What withholding each response until its event is on disk costs (` + "`go run ./test/bench/sync`" + `): medians of turns in one run, client,
origin and wayside on one machine.

| when (UTC) | commit | connections | spool.sync | requests a second | p50 | p99 | 99.9 % |
|---|---|---|---|---|---|---|---|
`

type options struct {
	rounds   int
	each     time.Duration
	dir      string
	evidence string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each")
	flag.DurationVar(&o.each, "each", 2*time.Second, "length of a turn")
	flag.StringVar(&o.dir, "dir", ".", "folder on the disk to measure; a folder is made in it and removed")
	flag.StringVar(&o.evidence, "evidence", "docs/evidence/sync.md", "file to append the result to; empty: none")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "sync:", err)
		os.Exit(1)
	}
}

var modes = []string{"interval", "request"}

func run(ctx context.Context, o options) error {
	commit := e2e.Commit() // before there is a folder of ours in the tree
	dir, err := os.MkdirTemp(o.dir, ".sync-bench-")
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

	running := map[string]*e2e.Wayside{}
	for _, mode := range modes {
		w, err := start(ctx, binary, filepath.Join(dir, mode), origin, mode)
		if err != nil {
			return err
		}
		defer func() { _ = w.Stop(30 * time.Second) }()
		running[mode] = w
	}
	for _, connections := range []int{1, 16, 64, 256} {
		turns := map[string][]*load.Report{}
		for range o.rounds {
			for _, mode := range modes {
				r, err := turn(ctx, running[mode].Listen, connections, o.each)
				if err != nil {
					return err
				}
				turns[mode] = append(turns[mode], r)
			}
		}
		for _, mode := range modes {
			if err := say(o.evidence, commit, connections, mode, turns[mode]); err != nil {
				return err
			}
		}
	}
	return nil
}

func start(ctx context.Context, binary, data, upstream, mode string) (*e2e.Wayside, error) {
	listen, err := e2e.FreeAddress()
	if err != nil {
		return nil, err
	}
	w := &e2e.Wayside{
		Binary: binary, DataDir: data, Listen: listen, Log: io.Discard, Args: []string{"--upstream", upstream},
		Env: []string{"WAYSIDE_SPOOL_SYNC=" + mode, "WAYSIDE_DATA_FREE_MIN=0"},
	}
	return w, w.Start(ctx)
}

func turn(ctx context.Context, address string, connections int, each time.Duration) (*load.Report, error) {
	r, err := load.Run(ctx, load.Options{
		Address: address, Connections: connections, Duration: each, Verify: load.ExpectBody(200, []byte(e2e.OriginBody)),
	})
	if err == nil && r.FailedTotal() > 0 {
		err = fmt.Errorf("%d requests failed: %v", r.FailedTotal(), r.Errors)
	}
	return r, err
}

func say(evidence, commit string, connections int, mode string, turns []*load.Report) error {
	rate := median(turns, func(r *load.Report) float64 { return float64(r.Completed) / r.Elapsed.Seconds() })
	at := func(q float64) time.Duration {
		return time.Duration(median(turns, func(r *load.Report) float64 { return float64(r.Latency.Quantile(q)) })).Round(time.Microsecond)
	}
	row := fmt.Sprintf("| %s | %s | %d | %s | %.0f | %v | %v | %v |",
		time.Now().UTC().Format("2006-01-02 15:04"), commit, connections, mode, rate, at(0.5), at(0.99), at(0.999))
	fmt.Println(row)
	return e2e.AppendEvidence(evidence, evidenceHead, row)
}

func median(turns []*load.Report, of func(*load.Report) float64) float64 {
	var all []float64
	for _, r := range turns {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

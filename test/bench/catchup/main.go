// Command catchup measures how a books process affects traffic while it is catching up, and how much its niceness matters. It builds up a
// backlog while no books process is running, starts a books process under a constant load, and measures the latency of the requests in
// the following seconds. The values of niceness are measured in turn, each with a new data directory. The command appends the medians to
// docs/evidence/catchup.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/bench/rig"
	"github.com/wayside-proxy/wayside/test/e2e"
)

const evidenceHead = `# Evidence: catching up during traffic

How a books process that catches up affects requests, by its niceness (` + "`go run ./test/bench/catchup`" + `;
[ADR 53](../adr/0053-books-process-priority.md)). The figures are medians of several turns in one run; client, origin
and wayside share one machine. The latencies are from the first seconds after the start of the books process (` + "`-each`" + `).
"none" is the same without a books process.

| when (UTC) | commit | niceness | backlog | requests a second | p50 | p99 | 99.9 % | caught up after |
|---|---|---|---|---|---|---|---|---|
`

type options struct {
	rig.Options
	build time.Duration // time for building up the backlog
	rate  float64       // requests per second during the measurement; 0 for full speed
}

func main() {
	var o options
	o.Flags(3*time.Second, ".", "docs/evidence/catchup.md")
	flag.DurationVar(&o.build, "build", 6*time.Second, "how long to make a backlog, at full speed")
	flag.Float64Var(&o.rate, "rate", 10_000, "requests a second during the measurement; 0: full speed")
	rig.Main("catchup", func(ctx context.Context) error { return run(ctx, o) })
}

// noBooks means that no books process runs; all other values are values of collector.nice.
const noBooks = "none"

var niceness = []string{noBooks, "0", "5", "10"}

// turn is the result of one turn.
type turn struct {
	load    *load.Report
	backlog uint64
	took    time.Duration // time until only the events of the last second were in the spool; 0 without a books process
}

func run(ctx context.Context, o options) (err error) {
	r, err := rig.New(ctx, o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	turns := map[string][]*turn{}
	for round := range o.Rounds {
		for _, nice := range niceness {
			result, err := measure(ctx, r, o, nice, fmt.Sprintf("%s-%d", nice, round))
			if err != nil {
				return fmt.Errorf("niceness %s: %w", nice, err)
			}
			turns[nice] = append(turns[nice], result)
		}
	}
	for _, nice := range niceness {
		if err := writeRow(r, o.Evidence, nice, turns[nice]); err != nil {
			return err
		}
	}
	return nil
}

// measure takes one turn on a new data directory.
func measure(ctx context.Context, r *rig.Rig, o options, nice, name string) (result *turn, err error) {
	env := []string{"WAYSIDE_DATA_FREE_MIN=0", "WAYSIDE_SPOOL_BYTES_MAX=1GiB"}
	w, err := r.Start(ctx, name, env, "--no-collector")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.End(w)) }()
	if _, err := rig.Load(ctx, load.Options{Address: w.Listen, Connections: 64, Duration: o.build}); err != nil {
		return nil, err
	}
	result = &turn{}
	if result.backlog, err = rig.PendingEvents(ctx, w); err != nil {
		return nil, err
	}
	booksCtx, stop := context.WithCancel(ctx)
	defer stop()
	ended, caughtUp := make(chan error, 1), make(chan time.Duration, 1)
	if nice == noBooks {
		ended <- nil
		caughtUp <- 0
	} else {
		cmd := exec.CommandContext(booksCtx, r.Binary, "collect", "--data", w.DataDir)
		cmd.Env = append(append(os.Environ(), env...), "WAYSIDE_COLLECTOR_NICE="+nice)
		go func() { ended <- cmd.Run() }()
		go func() { caughtUp <- awaitPending(booksCtx, w, uint64(max(o.rate, 10_000))) }()
	}
	result.load, err = rig.Load(ctx, load.Options{Address: w.Listen, Connections: 64, Duration: o.Each, Rate: o.rate, FirstNonce: 1 << 30})
	stop()
	<-ended // has an error, because the process was killed
	result.took = <-caughtUp
	if err == nil && nice != noBooks && result.took == 0 {
		err = errors.New("the books process did not catch up in the time of a turn: raise -each")
	}
	return result, err
}

// awaitPending waits until the spool has at most this number of events, and returns the time that this took, or 0 if ctx ended first.
func awaitPending(ctx context.Context, w *e2e.Wayside, most uint64) time.Duration {
	for began := time.Now(); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if n, err := rig.PendingEvents(ctx, w); err == nil && n <= most {
			return time.Since(began)
		}
	}
	return 0
}

func writeRow(r *rig.Rig, evidence, nice string, turns []*turn) error {
	took := "–"
	if nice != noBooks {
		median := rig.MedianOf(turns, func(t *turn) float64 { return float64(t.took) })
		took = time.Duration(median).Round(10 * time.Millisecond).String()
	}
	var loads []*load.Report
	for _, t := range turns {
		loads = append(loads, t.load)
	}
	backlog := rig.MedianOf(turns, func(t *turn) float64 { return float64(t.backlog) })
	return r.Row(evidence, evidenceHead, "%s | %.0f | %s | %s", nice, backlog, rig.LatencyCells(loads), took)
}

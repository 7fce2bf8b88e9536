// Command bench measures the cost of a request in wayside and in other proxies, in one run.
//
//	go run ./test/bench [-duration 5s] [-rounds 5] [-connections 4,64] [-only wayside,nginx-json] [-json] [-profile FILE]
//	go run ./test/bench -steady 10000 -connections 64 -duration 10m -only wayside
//
// All contestants start at once and take turns: each round loads each of them once, in a different order, so other work of
// the machine affects all of them. Only ratios within a round mean something. README.md in this folder explains the
// measurements, and what is not fair.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// reference is the contestant to which all ratios are relative.
const reference = "nginx-json"

type options struct {
	duration    time.Duration // of one load
	warmup      time.Duration // of the first load of each contestant, which is not counted
	rounds      int
	connections []int
	only        []string
	json        bool
	profile     string  // file for a CPU profile of wayside; empty for none
	wayside     string  // binary; empty to build it
	before      string  // binary of an older wayside, for the contestant "before"
	dir         string  // parent of the temporary directory
	steady      float64 // requests per second of a load at a constant rate; 0 for rounds at full speed
	maxSlower   float64 // fail if wayside's CPU is more than this percentage above the older binary's; 0 for no limit
	maxRatio    float64 // fail if wayside's CPU ratio at the last number of connections is above this; 0 for no limit
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parseFlags(os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(2)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func parseFlags(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.DurationVar(&o.duration, "duration", 5*time.Second, "length of the load of one contestant in one round")
	flags.DurationVar(&o.warmup, "warmup", time.Second, "length of the load of each contestant before the first round")
	flags.IntVar(&o.rounds, "rounds", 5, "number of rounds; the figures are medians of the rounds")
	connections := flags.String("connections", "4,64", "numbers of client connections, separated by commas")
	only := flags.String("only", strings.Join(defaultContestants, ","), "contestants to measure, from "+strings.Join(contestantNames(), ", "))
	flags.BoolVar(&o.json, "json", false, "print one JSON object with every measurement")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of wayside's traffic process under load to this file")
	flags.StringVar(&o.wayside, "wayside", "", "wayside binary to measure (default: build ./cmd/wayside)")
	flags.StringVar(&o.before, "before", "", "older wayside binary, measured as the contestant \"before\"")
	flags.StringVar(&o.dir, "dir", "", "folder for logs and data, which are removed afterwards (default: the system's temporary folder)")
	flags.Float64Var(&o.steady, "steady", 0, "instead of rounds at full speed: this many requests per second to each contestant for -duration, and its memory over time")
	flags.Float64Var(&o.maxSlower, "max-slower", 0, "with -before: exit 1 if wayside needs more than this percentage more CPU per request than the older binary")
	flags.Float64Var(&o.maxRatio, "max-ratio", 0, "exit 1 if wayside's CPU per request is above this multiple of "+reference)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for field := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > 10_000 {
			return o, fmt.Errorf("-connections %q: use numbers from 1 to 10000", field)
		}
		o.connections = append(o.connections, n)
	}
	o.only = strings.Split(*only, ",")
	for _, name := range o.only {
		if !slices.Contains(contestantNames(), name) {
			return o, fmt.Errorf("-only %q: unknown contestant, use some of %s", name, strings.Join(contestantNames(), ", "))
		}
	}
	if o.rounds < 1 || o.duration < time.Second || flags.NArg() > 0 {
		return o, errors.New("use at least one round of at least one second, and no other arguments")
	}
	return o, nil
}

// run starts everything, measures, prints the result, and stops everything.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "wayside-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &setup{options: o, dir: dir}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.start(ctx); err != nil {
		return err
	}
	if o.steady > 0 {
		return f.measureSteady(ctx)
	}
	samples, err := f.measureAll(ctx)
	if err != nil {
		return err
	}
	r := &result{Machine: describeMachine(ctx), Duration: o.duration.String(), Rounds: o.rounds, Samples: samples}
	r.summarise(o.connections, o.only)
	if err := r.write(os.Stdout, o.json); err != nil {
		return err
	}
	if o.profile != "" {
		if err := f.profileWayside(ctx); err != nil {
			return err
		}
	}
	if err := r.check(o.maxRatio); err != nil {
		return err
	}
	return r.checkBefore(os.Stderr, o.maxSlower) // standard output may be JSON
}

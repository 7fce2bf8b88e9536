// Command bench measures what a request costs in wayside, side by side with others that forward requests, in one run.
//
//	go run ./test/bench [-duration 5s] [-rounds 5] [-connections 4,64] [-only wayside,nginx-json] [-json] [-profile FILE]
//	go run ./test/bench -steady 10000 -connections 64 -duration 10m -only wayside
//
// All contestants are started at once and take turns: in each round each is loaded once, in a different order, so that
// whatever the machine does besides falls on all of them. Only ratios within a round are meant to be believed. README.md in
// this folder says what is measured how, and what is not fair.
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

// reference is the contestant that all ratios are relative to.
const reference = "nginx-json"

type options struct {
	duration    time.Duration // of one load
	warmup      time.Duration // of each contestant's first load, which is not counted
	rounds      int
	connections []int
	only        []string
	json        bool
	profile     string  // file for a CPU profile of wayside; empty: none
	wayside     string  // binary; empty: build it
	before      string  // binary of an earlier wayside, for the contestant of that name
	dir         string  // parent of the temporary directory
	steady      float64 // requests a second of the load at a constant rate; 0: full speed, in rounds
	maxSlower   float64 // percent; fail when wayside's CPU is further above the earlier binary's; 0: never
	maxRatio    float64 // fail when wayside's CPU ratio at the most connections is above; 0: never
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
	flags.DurationVar(&o.duration, "duration", 5*time.Second, "how long one contestant is loaded in one round")
	flags.DurationVar(&o.warmup, "warmup", time.Second, "how long each is loaded before the first round")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds; the figures are medians over them")
	connections := flags.String("connections", "4,64", "numbers of client connections, separated by commas")
	only := flags.String("only", strings.Join(defaultContestants, ","), "contestants, of "+strings.Join(contestantNames(), ", "))
	flags.BoolVar(&o.json, "json", false, "print one JSON object with every single measurement")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of wayside's traffic process under load to this file")
	flags.StringVar(&o.wayside, "wayside", "", "wayside binary to measure (default: build ./cmd/wayside)")
	flags.StringVar(&o.before, "before", "", "earlier wayside binary, measured beside the present one as the contestant \"before\"")
	flags.StringVar(&o.dir, "dir", "", "where to put logs and data, removed afterwards (default: the system's temporary directory)")
	flags.Float64Var(&o.steady, "steady", 0, "instead of rounds at full speed: this many requests a second to each for -duration, and memory over time")
	flags.Float64Var(&o.maxSlower, "max-slower", 0, "with -before: exit 1 when wayside's CPU per request is more than this percentage above the earlier binary's")
	flags.Float64Var(&o.maxRatio, "max-ratio", 0, "exit 1 when wayside's CPU per request is above this multiple of "+reference)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for field := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > 10_000 {
			return o, fmt.Errorf("-connections %q: want numbers from 1 to 10000", field)
		}
		o.connections = append(o.connections, n)
	}
	o.only = strings.Split(*only, ",")
	for _, name := range o.only {
		if !slices.Contains(contestantNames(), name) {
			return o, fmt.Errorf("-only %q: want some of %s", name, strings.Join(contestantNames(), ", "))
		}
	}
	if o.rounds < 1 || o.duration < time.Second || flags.NArg() > 0 {
		return o, errors.New("want at least one round of at least one second, and no further arguments")
	}
	return o, nil
}

// run starts everything, measures, prints, and stops everything.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "wayside-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &field{options: o, dir: dir}
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

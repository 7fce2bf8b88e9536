// Command bench measures the cost of a request in wayside and in other proxies, all in one run.
//
//	go run ./test/bench [-loads 2000/16,full/64] [-duration 5s] [-rounds 5] [-only wayside,nginx] [-json] [-profile FILE]
//	go run ./test/bench -loads 10000/64 -duration 10m -rounds 1 -only wayside
//	go run ./test/bench -http2 h2c|h2 [-loads full/64]
//	go run ./test/bench -tls [-loads 500/new,full/64]
//	go run ./test/bench [-idle 60s] [-idle-conns 10000] [-only wayside]
//
// All contestants are started at the beginning and take turns: in each round, each load is put on each of them, in a different order, so
// other work on the machine affects all of them. Only ratios within a round are meaningful. README.md in this folder explains the
// measurements, and the ways in which they are unfair.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// reference is the contestant to which all ratios are relative.
const reference = "nginx"

type options struct {
	loads     []workload
	duration  time.Duration // length of one load
	warmup    time.Duration // length of the uncounted load that each contestant gets before the first round
	rounds    int
	only      []string
	json      bool
	report    bool          // do not fail if budgets are missed
	profile   string        // file for a CPU profile of wayside; no profile if empty
	wayside   string        // binary; empty to build it
	before    string        // binary of an older wayside, for the contestant "before"
	maxSlower float64       // fail if wayside's CPU is more than this percentage above the older binary's; 0 for no limit
	dir       string        // parent of the temporary directory
	idle      time.Duration // instead of loads: time without traffic
	idleConns int           // instead of loads: number of idle connections
	http2     string        // h2c or h2 (over TLS): clients speak HTTP/2; empty: HTTP/1.1
	tls       bool          // clients use TLS, with HTTP/1.1
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
	loads := flags.String("loads", "2000/16,10000/64,full/4,full/64", "loads, as requests per second (or full) / connections")
	only := flags.String("only", strings.Join(defaultContestants, ","), "contestants to measure, from "+strings.Join(contestantNames(), ", "))
	flags.BoolVar(&o.json, "json", false, "print one JSON object with every measurement")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of wayside's traffic process under load to this file")
	flags.StringVar(&o.wayside, "wayside", "", "wayside binary to measure (default: build ./cmd/wayside)")
	flags.StringVar(&o.before, "before", "", "older wayside binary, measured as the contestant \"before\"")
	flags.StringVar(&o.dir, "dir", "", "folder for logs and data, which are removed afterwards (default: the system's temporary folder)")
	flags.Float64Var(&o.maxSlower, "max-slower", 0, "with -before: exit 1 if wayside needs more than this percentage more CPU per request than the older binary")
	flags.BoolVar(&o.report, "report", false, "do not exit with 1 because wayside misses a budget")
	flags.DurationVar(&o.idle, "idle", 0, "instead of loads: CPU time and wake-ups without traffic for this long")
	flags.IntVar(&o.idleConns, "idle-conns", 0, "instead of loads: memory of wayside's traffic process for this many idle connections")
	flags.StringVar(&o.http2, "http2", "", "clients speak HTTP/2: h2c, or h2 (over TLS); the loads are full speed over a number of streams")
	flags.BoolVar(&o.tls, "tls", false, "clients use TLS, with HTTP/1.1; in the load RATE/new, each request has a new connection")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if err := errors.Join(o.speakHTTP2(flags, loads, only), o.speakTLS(flags, loads, only)); err != nil {
		return o, err
	}
	if o.loads, err = parseWorkloads(*loads); err != nil {
		return o, err
	}
	if freshConnections(o.loads) && !o.tls {
		return o, errors.New("a load with new connections (RATE/new) needs -tls")
	}
	o.only = strings.Split(*only, ",")
	for _, name := range o.only {
		if names := o.contestants(); !slices.Contains(names, name) {
			return o, fmt.Errorf("-only %q: unknown contestant, use some of %s", name, strings.Join(names, ", "))
		}
	}
	if o.idle < 0 || o.idleConns < 0 || o.idleConns > 50_000 {
		return o, errors.New("-idle needs a positive time, -idle-conns a number from 1 to 50000")
	}
	if o.rounds < 1 || o.duration < time.Second || flags.NArg() > 0 {
		return o, errors.New("use at least one round of at least one second, and no other arguments")
	}
	return o, nil
}

// speakHTTP2 checks -http2 and sets the defaults of -loads and -only that belong to it.
func (o *options) speakHTTP2(flags *flag.FlagSet, loads, only *string) error {
	if o.http2 == "" {
		return nil
	}
	if o.http2 != "h2c" && o.http2 != "h2" || o.idling() {
		return errors.New("-http2 must be h2c or h2, without -idle and -idle-conns")
	}
	setUnlessGiven(flags, loads, only, "full/64", http2Contestants)
	if strings.Contains(strings.ReplaceAll(*loads, "full/", ""), "/") {
		return errors.New("with -http2, -loads must be at full speed, as in full/64")
	}
	return nil
}

// setUnlessGiven sets -loads and -only, unless they are on the command line.
func setUnlessGiven(flags *flag.FlagSet, loads, only *string, load string, contestants []string) {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["loads"] {
		*loads = load
	}
	if !given["only"] {
		*only = strings.Join(contestants, ",")
	}
}

// contestants returns the names that -only accepts.
func (o *options) contestants() []string {
	switch {
	case o.http2 != "":
		return append(slices.Clone(http2Contestants), "before")
	case o.tls:
		return append(slices.Clone(tlsContestants), "before")
	}
	return contestantNames()
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
	if o.idleConns > 0 { // the limit must allow both ends of the connections, in this process and in wayside
		if err := raiseDescriptorLimit(uint64(o.idleConns) + 4096); err != nil {
			return err
		}
	}
	if err := f.start(ctx); err != nil {
		return err
	}
	if o.idling() {
		r, err := f.measureIdle(ctx)
		if err != nil {
			return err
		}
		return errors.Join(r.write(os.Stdout, o.json), o.verdict(r.Budgets))
	}
	samples, err := f.measureAll(ctx)
	if err != nil {
		return err
	}
	r := &result{Machine: describeMachine(ctx), Duration: o.duration.String(), Rounds: o.rounds, Samples: samples}
	r.summarise(o.loads, o.only)
	r.judge(o)
	if err := r.write(os.Stdout, o.loads, o.json); err != nil {
		return err
	}
	if o.profile != "" {
		if err := f.profileWayside(ctx); err != nil {
			return err
		}
	}
	before := r.checkBefore(os.Stderr, o.maxSlower) // standard output is reserved for the result, which may be JSON
	return errors.Join(r.check(), before, o.verdict(r.Budgets))
}

// verdict returns an error if budgets were missed, unless they are only reported.
func (o *options) verdict(budgets []budget) error {
	if o.report {
		return nil
	}
	return missed(budgets)
}

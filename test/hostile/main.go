// Command hostile attacks the real binary, limited to 256 MiB by a memory cgroup and to 4,096 descriptors, and measures how the attacks
// affect a healthy client. It needs Linux, and root for the cgroup.
//
//	go run ./test/hostile                                      every group of attacks, five minutes each: about an hour
//	go run ./test/hostile -attacks 'half stopped' -seconds 60  some of them
//	go run ./test/hostile -attacks half-body-one               a single attack of a group
//	go run ./test/hostile -short                               a few seconds each, without the ratio of latencies, for CI
//	go run ./test/hostile -list
//
// Each run has its own wayside with a books process, an origin and an archive. A healthy client sends requests from its own address,
// first alone (the baseline), and then while another process attacks from other addresses. Further clients request /livez every half
// second, and /metrics and the API every two seconds.
//
// A run is successful if all of the following are true:
//   - no request of the healthy client failed, and its p99 at most doubled;
//   - every request for /livez got a response within a second, and at least half of the other requests got a response;
//   - no process died, and both processes are idle afterwards;
//   - everything that the healthy client received is in the archive exactly once, and the accounting adds up;
//   - `wayside verify` finds no problems, and the archive alone can be verified and rebuilt.
//
// The exit code is 1 if any run is not successful, and 77 if the machine cannot run the attacks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

type options struct {
	attacks  string
	seconds  int
	baseline int
	idle     int
	memory   int64 // in MiB
	files    int
	short    bool
	out      string
	binary   string
	keep     bool
	verbose  bool
	list     bool
	role     string
}

func main() {
	var o options
	flag.StringVar(&o.attacks, "attacks", "", "groups or single attacks, separated by commas or spaces; a name that ends in * is a prefix; empty: all groups")
	flag.IntVar(&o.seconds, "seconds", 300, "length of each attack in seconds")
	flag.IntVar(&o.baseline, "baseline", 30, "length of the baseline measurement in seconds, at most -seconds")
	flag.IntVar(&o.idle, "idle", 30, "length of the measurement of idle CPU time afterwards in seconds")
	flag.Int64Var(&o.memory, "memory", 256, "memory limit of both processes together in MiB; the default is the limit in configs/kubernetes.yaml")
	flag.IntVar(&o.files, "descriptors", 4096, "limit of descriptors of each process")
	flag.BoolVar(&o.short, "short", false, "a few seconds each; the ratio of latencies is not checked, and nothing is recorded")
	flag.StringVar(&o.out, "out", "docs/evidence/hostile.md", "file to which rows are appended; empty: none")
	flag.StringVar(&o.binary, "binary", "", "wayside binary to attack; empty: build one")
	flag.BoolVar(&o.keep, "keep", false, "keep the working directory, including logs")
	flag.BoolVar(&o.verbose, "v", false, "show wayside's log")
	flag.BoolVar(&o.list, "list", false, "list the attacks")
	flag.StringVar(&o.role, "role", "", "for internal use")
	flag.Parse()
	if o.short {
		o.seconds, o.baseline, o.idle, o.out = 5, 3, 5, ""
	}
	o.baseline = min(o.baseline, o.seconds)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := o.do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		if errors.Is(err, e2e.ErrNoMemoryGroup) {
			fmt.Fprintln(os.Stderr, "hostile: SKIPPED, nothing was attacked")
			os.Exit(77)
		}
		os.Exit(1)
	}
}

func (o options) do(ctx context.Context) error {
	switch o.role {
	case "origin":
		return serveOrigin()
	case "attacker":
		return runAttacker(ctx)
	}
	if o.list {
		for _, a := range attacks {
			fmt.Printf("%-8s %-16s %s\n", a.group, a.name, a.about)
		}
		return nil
	}
	runs, err := choose(o.attacks)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wayside-hostile-")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Println("working directory:", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if o.binary == "" {
		if o.binary, err = e2e.Build(ctx, dir); err != nil {
			return err
		}
	}
	return o.all(ctx, dir, runs)
}

const rowHead = `# Evidence: attacks

` + "`make hostile`" + ` attacks the real binary and appends a row for each attack; the comments in test/hostile explain the
attacks and the measurements. Both processes together have 256 MiB of memory, and each has 4,096 descriptors. The
attacker, the client and the origin share the two cores. "a → b" means that a figure was a without the attack and b
under attack. Version 1 of cgroups counts socket buffers separately, here without a limit; version 2 counts them towards
the limit. In the group "http2", each attack is a connection, so the connections per second are the attacks per second.

| date | commit | attack | seconds | connections held, opened (per second) | healthy requests, failed | p50 ms | p99 ms (ratio) | slowest /livez | other reads answered | MiB traffic, books, cgroup, sockets, unreclaimable | descriptors | CPU % traffic, books, attacker | idle CPU % traffic, books | verdict |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

func (o options) all(ctx context.Context, dir string, runs []run) error {
	var failed []error
	var rows []string
	for i, r := range runs {
		if ctx.Err() != nil {
			break
		}
		fmt.Printf("\n== %s (%d of %d): %s\n", r.name, i+1, len(runs), strings.Join(r.names(), ", "))
		where := filepath.Join(dir, r.name)
		res, err := o.one(ctx, where, r)
		if errors.Is(err, e2e.ErrNoMemoryGroup) {
			return err
		}
		row := res.row(r, o, err)
		rows = append(rows, row)
		fmt.Println(row)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", r.name, err))
		}
		if ctx.Err() == nil {
			if err := e2e.AppendEvidence(o.out, rowHead, row); err != nil {
				return err
			}
		}
		if !o.keep {
			_ = os.RemoveAll(where)
		}
	}
	fmt.Printf("\n%s%s\n", rowHead[strings.Index(rowHead, "| date"):], strings.Join(rows, "\n"))
	return errors.Join(append(failed, ctx.Err())...)
}

// run is a set of attacks that run at the same time.
type run struct {
	name    string
	attacks []attack
}

func (r run) names() (names []string) {
	for _, a := range r.attacks {
		names = append(names, a.name)
	}
	return names
}

// choose finds groups and attacks by name. Without names, it returns all groups.
func choose(names string) (runs []run, err error) {
	fields := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
	if len(fields) == 0 {
		for _, a := range attacks {
			if len(runs) == 0 || runs[len(runs)-1].name != a.group {
				runs = append(runs, run{name: a.group})
			}
			last := &runs[len(runs)-1]
			last.attacks = append(last.attacks, a)
		}
		return runs, nil
	}
	for _, name := range fields {
		found := len(runs)
		prefix, isPrefix := strings.CutSuffix(name, "*")
		group := run{name: name}
		for _, a := range attacks {
			switch {
			case a.group == name:
				group.attacks = append(group.attacks, a)
			case a.name == name || isPrefix && strings.HasPrefix(a.name, prefix):
				runs = append(runs, run{a.name, []attack{a}})
			}
		}
		if len(group.attacks) > 0 {
			runs = append(runs, group)
		}
		if len(runs) == found {
			return nil, fmt.Errorf("unknown attack %q: see -list", name)
		}
	}
	return runs, nil
}

// logTo opens the destination of wayside's log.
func (o options) logTo(dir string) (io.WriteCloser, error) {
	if o.verbose {
		return nopCloser{os.Stderr}, nil
	}
	return os.Create(filepath.Join(dir, "wayside.log"))
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// seconds returns a number of seconds as a duration.
func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// Command paths proves the promises about path templates during a flood of random paths, with the real binary: real requests, two
// processes, spool, store and archive.
//
//	go run ./test/paths flood    a million random URLs, then fifty routes: all fifty are distinguished, sums are exact, memory
//	                            stays flat, and the rows are the same after SIGKILLs, a restart, and a rebuild from the archive
//	go run ./test/paths unique   ten million different paths through spool and store: memory is bounded, sums are exact
//
// Each outcome, even a failure, is appended to docs/evidence/paths-flood.md with the commit and the seed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

type options struct {
	requests uint64
	kills    int
	seed     uint64
	log      io.Writer
}

// proof is one of the command's subjects. It returns its measurements, and an error if the promise does not hold.
type proof func(ctx context.Context, dir string, o options) (measured string, err error)

const head = `# Evidence: paths under a flood

` + "`go run ./test/paths SUBJECT`" + ` appends a row; its comments explain each subject. A "+" after a commit means that the work
tree differed from it. PSS is the memory of a process with its share of mapped files, sampled five times a second.

| when | commit | subject | seed | took | measured | verdict |
|---|---|---|---|---|---|---|
`

func main() {
	var o options
	var evidence string
	var verbose bool
	flag.Uint64Var(&o.requests, "requests", 0, "number of random URLs; 0: a million, for unique ten million")
	flag.IntVar(&o.kills, "kills", 3, "SIGKILLs of the books process during the flood")
	flag.Uint64Var(&o.seed, "seed", 1, "decides the random URLs")
	flag.StringVar(&evidence, "evidence", "docs/evidence/paths-flood.md", "file to which the outcome is appended; empty: none")
	flag.BoolVar(&verbose, "v", false, "show wayside's log")
	flag.Parse()
	prove, ok := map[string]proof{"flood": flood, "unique": unique}[flag.Arg(0)]
	if !ok || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/paths [flags] flood|unique")
		flag.PrintDefaults()
		os.Exit(2)
	}
	if o.log = io.Discard; verbose {
		o.log = os.Stderr
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, flag.Arg(0), prove, o, evidence); err != nil {
		fmt.Fprintln(os.Stderr, "paths:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string, prove proof, o options, evidence string) error {
	dir, err := os.MkdirTemp("", "wayside-paths-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	began := time.Now()
	measured, err := prove(ctx, dir, o)
	row := e2e.EvidenceRow(name, o.seed, began, measured, err)
	fmt.Println(row)
	return errors.Join(err, e2e.AppendEvidence(evidence, head, row))
}

// Command paths proves what path templates promise under a flood, through the real binary: real requests, two processes,
// spool, store and archive.
//
//	go run ./test/paths flood    a million made-up URLs, then fifty routes: all fifty are told apart, sums exact, memory flat,
//	                            and the same rows after SIGKILLs, a restart, and a rebuild from the archive
//	go run ./test/paths unique   ten million different paths through spool and store: memory bounded, sums exact
//
// Each outcome, a failure too, is appended to docs/evidence/paths-flood.md with the commit and the seed.
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

// proof is one subject of the command. It gives what was measured, and an error when the promise does not hold.
type proof func(ctx context.Context, dir string, o options) (measured string, err error)

const head = `# Evidence: paths under a flood

Appended by ` + "`go run ./test/paths SUBJECT`" + `, which says what each does. A "+" behind the commit: the work tree differed from it.
PSS is that of a process with its share of mapped files, sampled five times a second.

| when | commit | subject | seed | took | measured | verdict |
|---|---|---|---|---|---|---|
`

func main() {
	var o options
	var evidence string
	var verbose bool
	flag.Uint64Var(&o.requests, "requests", 0, "made-up URLs; 0: a million, unique: ten million")
	flag.IntVar(&o.kills, "kills", 3, "SIGKILLs of the books process during the flood")
	flag.Uint64Var(&o.seed, "seed", 1, "decides what is made up")
	flag.StringVar(&evidence, "evidence", "docs/evidence/paths-flood.md", "file to append the outcome to; empty for none")
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

// Command pipeline runs the long end-to-end proofs: it sends real traffic through the real binary into a real S3 server, with or without
// kill -9, and looks up every nonce in the archive. The comparison is described in package test/e2e.
//
//	go run ./test/pipeline -requests 1000000
//	go run ./test/pipeline -requests 1000000 -kill-books 3 -kill-run 2 -seed 7
//
// The outcome, even a failure, is appended to docs/evidence/e2e.md together with the commit.
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
	scenario e2e.Scenario
	evidence string
	keep     bool
	verbose  bool
}

func main() {
	var o options
	flag.Uint64Var(&o.scenario.Requests, "requests", 1_000_000, "number of requests, each with its own nonce")
	flag.IntVar(&o.scenario.Connections, "connections", 64, "number of client connections")
	flag.IntVar(&o.scenario.KillBooks, "kill-books", 0, "how many times the books process is killed with SIGKILL")
	flag.IntVar(&o.scenario.KillRun, "kill-run", 0, "how many times the traffic process is killed with SIGKILL and started again")
	flag.Uint64Var(&o.scenario.Seed, "seed", uint64(time.Now().UnixNano()), "decides when the processes are killed")
	flag.StringVar(&o.evidence, "evidence", "docs/evidence/e2e.md", "file to which the outcome is appended; empty: none")
	flag.BoolVar(&o.keep, "keep", false, "keep the working directory")
	flag.BoolVar(&o.verbose, "v", false, "show wayside's log")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := prove(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		os.Exit(1)
	}
}

func prove(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "wayside-e2e-")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Println("working directory:", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	stack, err := e2e.StartStack(ctx, e2e.StackOptions{Dir: dir, Log: logTo(o.verbose, dir)})
	if err != nil {
		return err
	}
	defer stack.Close()
	o.scenario.Progress = os.Stdout
	began := time.Now()
	out, err := o.scenario.Run(ctx, stack.Wayside, stack.Target)
	if err != nil {
		return err
	}
	verdict := o.scenario.Check(out)
	if stopped := stack.Wayside.Stop(40 * time.Second); stopped != nil {
		verdict = errors.Join(verdict, fmt.Errorf("stop wayside: %w", stopped))
	}
	row := describe(o.scenario, out, time.Since(began), verdict)
	fmt.Println(row)
	return errors.Join(verdict, e2e.AppendEvidence(o.evidence, evidenceHead, row))
}

func logTo(verbose bool, dir string) io.Writer {
	if verbose {
		return os.Stderr
	}
	file, err := os.Create(filepath.Join(dir, "wayside.log"))
	if err != nil {
		return io.Discard
	}
	return file
}

func describe(s e2e.Scenario, o *e2e.Outcome, took time.Duration, verdict error) string {
	result := "holds"
	if verdict != nil {
		result = "FAILS: " + strings.ReplaceAll(verdict.Error(), "\n", "; ")
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d/%d | %d | %d | %d | %d | %d | %d | %d | %d | %.0f | %v | %s |",
		time.Now().UTC().Format("2006-01-02 15:04"), e2e.Commit(), s.Seed, s.Connections, o.KilledBook, o.KilledRun,
		o.Load.Sent, o.Load.Received, o.Load.FailedTotal(), o.Books.Lines, o.Lost, o.Unsent, o.Books.Doubled,
		o.Accounting.DroppedTotal(), o.Load.PerSecond(), took.Round(100*time.Millisecond), result)
}

const evidenceHead = `# Evidence: end to end

` + "`go run ./test/pipeline`" + ` sends requests with nonces through the binary in front of nginx, reads the archive back from
versitygw, and appends a row. *Lost* are responses that were received in full and are not in the books. *Unsent* are
responses that are in the books and were never sent. A row is valid while the code under test is unchanged.

| when | commit | seed | connections | kills books/run | sent | received | failed | lines in S3 | lost | unsent | doubled | drops | req/s | took | verdict |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

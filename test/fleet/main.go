// Command fleet proves that one bucket answers for a fleet: it runs many real waysides with one real S3 server, some of them killed,
// restarted, or with a spool that is full, ingests the bucket with the statements of wayside fleet sql, and compares every count with the
// figures that the instances themselves reported.
//
//	go run ./test/fleet prove     200 instances of 5 services; run npm ci in test/archive/clickhouse and test/archive/duckdb first
//	go run ./test/fleet scale     1,000 instances of 40 services for a day, made by the real store and uploader: docs/SCALE.md
//
// With Debian's zookeeper package installed, the ingestion by S3Queue runs too. The outcome is appended to docs/evidence/fleet.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

var commands = map[string]func(ctx context.Context, flags *flag.FlagSet, args []string) (string, error){
	"prove": prove,
	"scale": scale,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/fleet prove|scale [flags]")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	name := os.Args[1]
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	evidence := flags.String("evidence", "docs/evidence/fleet.md", "file to which the outcome is appended; empty: none")
	began := time.Now()
	found, err := commands[name](ctx, flags, os.Args[2:])
	verdict := "holds"
	if err != nil {
		verdict = "FAILS: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	text := fmt.Sprintf("- %s · `%s` · **%s**: %s (%s) → %s", time.Now().UTC().Format("2006-01-02 15:04"), e2e.Commit(), name, found,
		time.Since(began).Round(100*time.Millisecond), verdict)
	fmt.Println(text)
	if err = errors.Join(err, e2e.AppendEvidence(*evidence, evidenceHead, text)); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

const evidenceHead = `# Evidence: the fleet

` + "`go run ./test/fleet`" + ` makes these proofs and appends one line per run: time, commit (a "+" means that the work tree differed
from it), proof, figures, duration, verdict.

`

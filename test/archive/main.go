// Command archive makes the long proofs of the archive: on the real store, the real uploader and a real S3 server.
//
//	go run ./test/archive kill -kills 1000    kill -9 while archiving and cleaning; resumable, -dir keeps what was done
//	go run ./test/archive volume -events 10000000    bytes, speed and memory beside gzip -6
//	go run ./test/archive outage              the target is away for an hour's traffic
//	go run ./test/archive week                disk before and after retention over a simulated week
//	go run ./test/archive shutdown            SIGTERM with an open hour and 200,000 unarchived events
//	go run ./test/archive duckdb              DuckDB finds what wayside counted; npm ci in test/archive/duckdb first
//	go run ./test/archive clickhouse          ClickHouse finds it on a real S3 server; npm install in test/archive/clickhouse first
//
// The outcome, a failure too, is appended to docs/evidence/archive.md together with the commit.
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

// proof is one of the commands. It returns what it found on one line, and an error if that is not what it should be.
type proof struct {
	about string
	run   func(ctx context.Context, flags *flag.FlagSet, args []string) (string, error)
}

var proofs = map[string]proof{
	"kill":       {"kill -9 while archiving and cleaning", proveKill},
	"volume":     {"bytes, speed and memory", proveVolume},
	"outage":     {"the target away for an hour's traffic", proveOutage},
	"week":       {"disk over a simulated week", proveWeek},
	"shutdown":   {"SIGTERM with 200,000 unarchived events", proveShutdown},
	"duckdb":     {"DuckDB finds what wayside counted", proveDuckDB},
	"clickhouse": {"ClickHouse finds what wayside counted", proveClickHouse},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		os.Exit(child(os.Args[2:]))
	}
	if len(os.Args) < 2 || proofs[os.Args[1]].run == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/archive PROOF [flags]; proofs are listed in test/archive/main.go")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	name := os.Args[1]
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	evidence := flags.String("evidence", "docs/evidence/archive.md", "file to append the outcome to; empty for none")
	began := time.Now()
	found, err := proofs[name].run(ctx, flags, os.Args[2:])
	verdict := "holds"
	if err != nil {
		verdict = "FAILS: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	text := fmt.Sprintf("- %s · `%s` · **%s**: %s (%s) → %s", time.Now().UTC().Format("2006-01-02 15:04"), e2e.Commit(), name, found,
		time.Since(began).Round(100*time.Millisecond), verdict)
	fmt.Println(text)
	if err = errors.Join(err, e2e.AppendEvidence(*evidence, evidenceHead, text)); err != nil {
		fmt.Fprintln(os.Stderr, "archive:", err)
		os.Exit(1)
	}
}

const evidenceHead = `# Evidence: the archive

Appended by ` + "`go run ./test/archive`" + `, one line a run: time, commit (a "+" says that the work tree differed), proof, figures, how
long it took, verdict. What each proof does stands in the comments of test/archive.

`

// Command archive runs the long proofs of the archive, with the real store, the real uploader and a real S3 server.
//
//	go run ./test/archive kill -kills 1000    kill -9 while archiving and cleaning; with -dir it can be continued
//	go run ./test/archive volume -events 10000000    bytes, speed and memory, compared with gzip -6
//	go run ./test/archive outage              the target is unreachable during an hour's traffic
//	go run ./test/archive week                disk before and after retention over a simulated week
//	go run ./test/archive shutdown            SIGTERM with an open hour and 200,000 unarchived events
//	go run ./test/archive duckdb              DuckDB gets the figures that wayside counted; run npm ci in test/archive/duckdb first
//	go run ./test/archive clickhouse          the same with ClickHouse on a real S3 server; run npm ci in test/archive/clickhouse first
//
// The outcome, even a failure, is appended to docs/evidence/archive.md together with the commit.
package main

import (
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/test/e2e"
)

// proof is one of the commands.
type proof struct {
	about string
	run   e2e.Proof
}

var proofs = map[string]proof{
	"kill":       {"kill -9 while archiving and cleaning", proveKill},
	"volume":     {"bytes, speed and memory", proveVolume},
	"outage":     {"the target is unreachable during an hour's traffic", proveOutage},
	"week":       {"disk over a simulated week", proveWeek},
	"shutdown":   {"SIGTERM with 200,000 unarchived events", proveShutdown},
	"duckdb":     {"DuckDB gets the figures that wayside counted", proveDuckDB},
	"clickhouse": {"ClickHouse gets the figures that wayside counted", proveClickHouse},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		os.Exit(child(os.Args[2:]))
	}
	if len(os.Args) < 2 || proofs[os.Args[1]].run == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/archive PROOF [flags]; test/archive/main.go lists the proofs")
		os.Exit(2)
	}
	os.Exit(e2e.RunProof("archive", os.Args[1], proofs[os.Args[1]].run, "docs/evidence/archive.md", evidenceHead, os.Args[2:]))
}

const evidenceHead = `# Evidence: the archive

` + "`go run ./test/archive PROOF`" + ` runs these proofs and appends one line per run: time, commit (a "+" means that the work tree
differed from the commit), proof, figures, duration, verdict. The comments in test/archive explain the proofs.

`

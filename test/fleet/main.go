// Command fleet proves that the figures of a whole fleet can be computed from one bucket. It runs many real waysides with one real S3
// server. Some of the waysides are killed, are restarted, or have a full spool. It then ingests the bucket with the statements of
// `wayside fleet sql`, and compares every count with the figures that the instances themselves reported.
//
//	go run ./test/fleet prove     200 instances of 5 services; run npm ci in test/archive/clickhouse and test/archive/duckdb first
//	go run ./test/fleet scale     1,000 instances of 40 services for a day, made by the real store and uploader: docs/SCALE.md
//
// If Debian's zookeeper package is installed, ingestion with S3Queue is also tested. The outcome is appended to docs/evidence/fleet.md.
package main

import (
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/test/e2e"
)

var commands = map[string]e2e.Proof{
	"prove": prove,
	"scale": scale,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/fleet prove|scale [flags]")
		os.Exit(2)
	}
	os.Exit(e2e.RunProof("fleet", os.Args[1], commands[os.Args[1]], "docs/evidence/fleet.md", evidenceHead, os.Args[2:]))
}

const evidenceHead = `# Evidence: the fleet

` + "`go run ./test/fleet`" + ` runs these proofs with many instances and one bucket ([FLEET.md](../FLEET.md#proof)). It appends one
line per run: time, commit (a "+" means that the work tree differed from the commit), proof, figures, duration, verdict.

`

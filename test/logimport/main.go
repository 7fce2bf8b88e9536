// Command logimport proves that `wayside import` counts access logs correctly. nginx responds to a number of requests and writes one log
// in its combined format and one in JSON. `wayside import` imports each log, and the combined one also in compressed form. The command is
// killed again and again until one run completes; then it is run once more. Afterwards, the counts by status, hour and path, and the
// bytes, must equal those of GoAccess for the same file, and `wayside verify` must find no problems.
//
//	go run ./test/logimport [-lines 1000000] [-kills 20]
//
// The outcome is appended to docs/evidence/import.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

func main() {
	os.Exit(e2e.RunProof("logimport", "import", prove, "docs/evidence/import.md", evidenceHead, os.Args[1:]))
}

const evidenceHead = `# Evidence: imported access logs

` + "`go run ./test/logimport`" + ` imports access logs of nginx with kills, and compares the figures with those of GoAccess ([ADR
112](../adr/0112-imported-access-logs.md)). It appends one line per run: time, commit (a "+" means that the work tree differed
from the commit), proof, figures, duration, verdict.

`

func prove(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	lines := flags.Int("lines", 1_000_000, "requests to nginx")
	kills := flags.Int("kills", 20, "times that each import is killed")
	_ = flags.Parse(args)
	dir, err := os.MkdirTemp("", "logimport")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, err := e2e.Build(ctx, dir)
	if err != nil {
		return "", err
	}
	if err := writeLogs(ctx, dir, *lines); err != nil {
		return "", err
	}
	combined, json := filepath.Join(dir, "combined.log"), filepath.Join(dir, "json.log")
	compressed, err := compress(combined)
	if err != nil {
		return "", err
	}
	var found []string
	for _, c := range []struct{ name, file, counted, format string }{
		{"combined", combined, combined, formatCombined}, {"combined with gzip", compressed, combined, formatCombined}, {"JSON", json, json, formatJSON},
	} {
		want, err := goAccess(ctx, c.counted, c.format)
		if err != nil {
			return "", err
		}
		p := proof{binary: binary, data: filepath.Join(dir, "data-"+filepath.Base(c.file)), file: c.file}
		took, err := p.importKilled(ctx, *kills)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
		if err := p.compare(ctx, want, uint64(*lines)); err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
		found = append(found, fmt.Sprintf("%s: %d kills, then the rest in %v; %d requests, %d statuses, %d hours, %d paths and %d bytes as in GoAccess",
			c.name, p.killed, took.Round(100*time.Millisecond), want.total, len(want.status), len(want.hours), len(want.paths), want.bytes))
	}
	return fmt.Sprintf("%d lines. %s. Imported again: nothing is added. wayside verify: no problems", *lines, strings.Join(found, ". ")), nil
}

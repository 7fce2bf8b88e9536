// Command logimport proves that `wayside import` counts access logs correctly. nginx responds to a number of requests and writes one log
// in its combined format and one in JSON. Each log is imported, the combined one also in compressed form, by a `wayside import` that is
// killed again and again until one run completes; then it is imported once more. Afterwards, the counts by status, hour and path, and the
// bytes, must equal those of GoAccess for the same file, and `wayside verify` must find no problems.
//
//	go run ./test/logimport [-lines 1000000] [-kills 20]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

func main() {
	lines := flag.Int("lines", 1_000_000, "requests to nginx")
	kills := flag.Int("kills", 20, "times that each import is killed")
	flag.Parse()
	if err := run(context.Background(), *lines, *kills); err != nil {
		fmt.Fprintln(os.Stderr, "logimport:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, lines, kills int) error {
	dir, err := os.MkdirTemp("", "logimport")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, err := e2e.Build(ctx, dir)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := writeLogs(ctx, dir, lines); err != nil {
		return err
	}
	fmt.Printf("nginx answered %d requests in %v\n", lines, time.Since(began).Round(time.Second))
	combined, json := filepath.Join(dir, "combined.log"), filepath.Join(dir, "json.log")
	compressed, err := compress(combined)
	if err != nil {
		return err
	}
	for _, c := range []struct{ name, file, counted, format string }{
		{"combined", combined, combined, formatCombined}, {"combined, gzip", compressed, combined, formatCombined}, {"JSON", json, json, formatJSON},
	} {
		want, err := goAccess(ctx, c.counted, c.format)
		if err != nil {
			return err
		}
		p := proof{binary: binary, data: filepath.Join(dir, "data-"+filepath.Base(c.file)), file: c.file}
		took, err := p.importKilled(ctx, kills)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := p.compare(ctx, want, uint64(lines)); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("%-15s %d lines imported with %d kills, uninterrupted part %v; equal to GoAccess: %d requests, %d statuses, %d hours, %d paths, %d bytes; verify: all holds\n",
			c.name, lines, p.killed, took.Round(100*time.Millisecond), want.total, len(want.status), len(want.hours), len(want.paths), want.bytes)
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/uploader"
)

// queryBlock is a statement of docs/QUERY.md that is said to have been tried.
var queryBlock = regexp.MustCompile("(?s)```sql duckdb (\\w+)\n(.*?)```")

// duckRow is a row as the statements name its columns. DuckDB writes 64-bit numbers as text.
type duckRow map[string]any

func (r duckRow) number(name string) uint64 {
	n, _ := strconv.ParseUint(fmt.Sprint(r[name]), 10, 64)
	return n
}

func (r duckRow) row() string { return fmt.Sprint(r["host"], " ", r["method"], " ", r["path"]) }

// proveDuckDB archives events of two services and compares what DuckDB finds, with the very statements of docs/QUERY.md, with
// what the stores counted: counts, bytes, errors, maxima, percentiles, drops.
func proveDuckDB(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	events := flags.Int("events", 200_000, "events of each of two services")
	script := flags.String("script", "e2e/duckdb/query.mjs", "the script that runs statements; npm install in its folder first")
	statementsIn := flags.String("statements", "docs/QUERY.md", "where the statements stand")
	_ = flags.Parse(args)
	dir, err := os.MkdirTemp("", "wayside-duckdb-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	want := map[string]*stats.Row{}
	for n, service := range []string{"shop", "blog"} {
		if err := archiveService(ctx, dir, service, uint64(n)+1, *events, want); err != nil { //nolint:gosec // small
			return "", err
		}
	}
	answer, err := runDuckDB(ctx, *script, *statementsIn, filepath.Join(dir, "archive"))
	if err != nil {
		return "", err
	}
	rows, err := compareDuckDB(answer, want, *events)
	var version string
	_ = json.Unmarshal(answer["version"], &version)
	return fmt.Sprintf("DuckDB %s, %d events of 2 services: counts, bytes, errors and maxima of %d rows from events and from statistics, and p50, p95, p99, "+
		"equal wayside's", version, 2**events, rows), err
}

// archiveService makes a store of its own, archives it into dir/archive, and adds its rows to want.
func archiveService(ctx context.Context, dir, service string, seed uint64, events int, want map[string]*stats.Row) error {
	s, err := openStore(filepath.Join(dir, service))
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	target, err := uploader.OpenTarget(ctx, filepath.Join(dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		return err
	}
	u, err := uploader.New(uploader.Options{
		Source: s, Catalogue: s, Target: target, Service: service, Instance: "pod_0", ObjectBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	m := maker{seed: seed, perEvent: 50 * time.Millisecond} // about three hours
	at := monday
	for first := uint64(1); first <= uint64(events); first += 4000 { //nolint:gosec // not negative
		b := m.batch(first, 4000, at)
		b.Epoch = uuid.UUID{0: byte(seed), 6: 0x70, 8: 0x80} //nolint:gosec // small
		at = time.UnixMicro(b.Items[len(b.Items)-1].Event.TimeMicros)
		// One of each batch is a drop record, and one a stream, whose latency is its time to the first byte.
		b.Items[7].Event.Kind, b.Items[7].Event.ErrorType, b.Items[7].Event.RequestBytes = event.KindDrop, []byte("full"), first
		b.Items[8].Event.Kind = event.KindStream
		b.Items[8].Event.DurationMicros = 3_600_000_000
		if err := s.Apply(b); err != nil {
			return err
		}
	}
	if _, err := u.ArchiveOnce(ctx, true); err != nil {
		return err
	}
	return s.Rows(ctx, 0, 1<<40, func(k stats.Key, row *stats.Row) error {
		name := k.Host + " " + k.Method + " " + k.Label
		if want[name] == nil {
			want[name] = &stats.Row{}
		}
		return want[name].Merge(row)
	})
}

// runDuckDB runs the statements of the document on an archive.
func runDuckDB(ctx context.Context, script, document, archive string) (map[string]json.RawMessage, error) {
	text, err := os.ReadFile(document)
	if err != nil {
		return nil, err
	}
	statements := map[string]string{}
	for _, m := range queryBlock.FindAllSubmatch(text, -1) {
		statements[string(m[1])] = strings.ReplaceAll(string(m[2]), "ARCHIVE", archive)
	}
	in, err := json.Marshal(statements)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Base(script)) //nolint:gosec // our own script
	cmd.Dir, cmd.Stdin, cmd.Stderr = filepath.Dir(script), bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run DuckDB (npm install in %s first): %w", filepath.Dir(script), err)
	}
	answer := map[string]json.RawMessage{}
	return answer, json.Unmarshal(out, &answer)
}

// compareDuckDB returns the number of rows compared, and what differs.
func compareDuckDB(answer map[string]json.RawMessage, want map[string]*stats.Row, events int) (int, error) {
	tables := map[string][]duckRow{}
	for _, name := range []string{"hours", "paths", "stats", "percentiles", "drops"} {
		var rows []duckRow
		if err := json.Unmarshal(answer[name], &rows); err != nil {
			return 0, fmt.Errorf("statement %s: %w", name, err)
		}
		tables[name] = rows
	}
	var total, responses uint64
	for _, row := range want {
		total += row.Count
	}
	for _, r := range tables["hours"] {
		responses += r.number("responses")
	}
	drops := uint64(events / 4000) //nolint:gosec // not negative
	if responses != total || total != 2*(uint64(events)-drops) {
		return 0, fmt.Errorf("%d responses by the hour, %d in the rows", responses, total)
	}
	for _, r := range tables["drops"] {
		if last := uint64(events) - 4000 + 1; r.number("responses") != last || r["reason"] != "full" { //nolint:gosec // not negative
			return 0, fmt.Errorf("drops: %v, want %d", r, last)
		}
	}
	for name, compare := range map[string]func(duckRow, *stats.Row) bool{
		"paths": func(r duckRow, w *stats.Row) bool {
			return r.number("count") == w.Count && r.number("bytes_out") == w.BytesOut && r.number("max_us") == w.MaxMicros
		},
		"stats": func(r duckRow, w *stats.Row) bool {
			return r.number("count") == w.Count && r.number("errors") == w.Errors && r.number("bytes_out") == w.BytesOut &&
				r.number("max_us") == w.MaxMicros && r.number("sum_us") == w.SumMicros
		},
		"percentiles": func(r duckRow, w *stats.Row) bool {
			return r.number("count") == w.Count && r.number("p50_us") == w.Quantile(0.5) && r.number("p95_us") == w.Quantile(0.95) &&
				r.number("p99_us") == w.Quantile(0.99)
		},
	} {
		if len(tables[name]) != len(want) {
			return 0, fmt.Errorf("%s: %d rows, want %d", name, len(tables[name]), len(want))
		}
		for _, r := range tables[name] {
			if w := want[r.row()]; w == nil || !compare(r, w) {
				return 0, fmt.Errorf("%s: DuckDB says %v, wayside %+v with p50 %d, p95 %d, p99 %d", name, r, w, w.Quantile(0.5), w.Quantile(0.95), w.Quantile(0.99))
			}
		}
	}
	return len(want), nil
}

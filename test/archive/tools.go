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

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
)

// tool is a program that reads the archive with the statements of docs/QUERY.md that are marked with its name.
type tool struct {
	name   string
	script string // npm ci must have been run in its folder
	s3     bool   // whether it reads from a real S3 server instead of a directory
}

// statements finds the statements that are marked with the tool's name.
func (t tool) statements(document string) (map[string]string, error) {
	text, err := os.ReadFile(document)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```sql "+t.name+" (\\w+)\n(.*?)```").FindAllSubmatch(text, -1) {
		found[string(m[1])] = string(m[2])
	}
	return found, nil
}

// toolRow is a row with the column names of the statements. 64-bit numbers are text.
type toolRow map[string]any

func (r toolRow) number(name string) uint64 {
	n, _ := strconv.ParseUint(fmt.Sprint(r[name]), 10, 64)
	return n
}

func (r toolRow) row() string { return fmt.Sprint(r["host"], " ", r["method"], " ", r["path"]) }

func proveDuckDB(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	return tool{name: "duckdb", script: "test/archive/duckdb/query.mjs"}.prove(ctx, flags, args)
}

func proveClickHouse(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	return tool{name: "clickhouse", script: "test/archive/clickhouse/query.mjs", s3: true}.prove(ctx, flags, args)
}

// prove archives events of two services, runs the statements of docs/QUERY.md in the tool, and compares counts, bytes, errors, maxima,
// percentiles and drops with those in the stores.
func (t tool) prove(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	events := flags.Int("events", 200_000, "events of each of two services")
	statementsIn := flags.String("statements", "docs/QUERY.md", "file with the statements")
	_ = flags.Parse(args)
	dir, err := os.MkdirTemp("", "wayside-"+t.name+"-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	statements, err := t.statements(*statementsIn)
	if err != nil {
		return "", err
	}
	address, from, o := filepath.Join(dir, "archive"), "a directory", uploader.TargetOptions{}
	replace := strings.NewReplacer("ARCHIVE", address)
	if t.s3 {
		server, err := s3test.StartProcess(filepath.Join(dir, "s3"))
		if err != nil {
			return "", err
		}
		defer server.Stop()
		address, from, o = server.URL("books"), "versitygw", uploader.TargetOptions{AccessKey: server.AccessKey, SecretKey: server.SecretKey}
		replace = strings.NewReplacer("ARCHIVE", server.Endpoint+"/"+server.Bucket+"/books", "'KEY'", "'"+server.AccessKey+"'", "'SECRET'", "'"+server.SecretKey+"'")
	}
	want := map[string]*stats.Row{}
	for n, service := range []string{"shop", "blog"} {
		target, err := uploader.OpenTarget(ctx, address, o)
		if err != nil {
			return "", err
		}
		if err := archiveService(ctx, filepath.Join(dir, service), target, service, uint64(n)+1, *events, want); err != nil {
			return "", err
		}
	}
	for name, text := range statements {
		statements[name] = replace.Replace(text)
	}
	answer, err := t.run(ctx, statements)
	if err != nil {
		return "", err
	}
	rows, err := compareTool(answer, want, *events)
	var version string
	_ = json.Unmarshal(answer["version"], &version)
	return fmt.Sprintf("%s %s on %s, %d events of 2 services: counts, bytes, errors and maxima of %d rows from events and from statistics, and p50, p95, p99, "+
		"equal wayside's", t.name, version, from, 2**events, rows), err
}

// archiveService creates a store in dir, archives it, and adds its rows to want.
func archiveService(ctx context.Context, dir string, target uploader.Target, service string, seed uint64, events int, want map[string]*stats.Row) error {
	s, err := openStore(dir)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	u, err := uploader.New(uploader.Options{
		Source: s, Catalogue: s, Target: target, Service: service, Instance: "pod_0", ObjectBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	m := maker{seed: seed, perEvent: 50 * time.Millisecond} // about three hours
	at := monday
	for first := uint64(1); first <= uint64(events); first += 4000 {
		b := m.batch(first, 4000, at)
		b.Epoch = uuid.UUID{0: byte(seed), 6: 0x70, 8: 0x80}
		at = time.UnixMicro(b.Items[len(b.Items)-1].Event.TimeMicros)
		// Each batch has one drop record and one stream. The latency of a stream is the time to its first byte.
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
		want[name].Merge(row)
		return nil
	})
}

// run runs the statements in the tool.
func (t tool) run(ctx context.Context, statements map[string]string) (map[string]json.RawMessage, error) {
	in, err := json.Marshal(statements)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Base(t.script))
	cmd.Dir, cmd.Stdin, cmd.Stderr = filepath.Dir(t.script), bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s (run npm ci in %s first): %w", t.name, filepath.Dir(t.script), err)
	}
	answer := map[string]json.RawMessage{}
	return answer, json.Unmarshal(out, &answer)
}

// compareTool returns the number of compared rows, and an error with the first difference.
func compareTool(answer map[string]json.RawMessage, want map[string]*stats.Row, events int) (int, error) {
	tables := map[string][]toolRow{}
	for _, name := range []string{"hours", "paths", "stats", "percentiles", "drops"} {
		var rows []toolRow
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
	drops := uint64(events / 4000)
	if responses != total || total != 2*(uint64(events)-drops) {
		return 0, fmt.Errorf("%d responses by the hour, %d in the rows", responses, total)
	}
	for _, r := range tables["drops"] {
		if last := uint64(events) - 4000 + 1; r.number("responses") != last || r["reason"] != "full" {
			return 0, fmt.Errorf("drops: %v, want %d", r, last)
		}
	}
	for name, compare := range map[string]func(toolRow, *stats.Row) bool{
		"paths": func(r toolRow, w *stats.Row) bool {
			return r.number("count") == w.Count && r.number("bytes_out") == w.BytesOut && r.number("max_us") == w.MaxMicros
		},
		"stats": func(r toolRow, w *stats.Row) bool {
			return r.number("count") == w.Count && r.number("errors") == w.Errors && r.number("bytes_out") == w.BytesOut &&
				r.number("max_us") == w.MaxMicros && r.number("sum_us") == w.SumMicros
		},
		"percentiles": func(r toolRow, w *stats.Row) bool {
			return r.number("count") == w.Count && r.number("p50_us") == w.Quantile(0.5) && r.number("p95_us") == w.Quantile(0.95) &&
				r.number("p99_us") == w.Quantile(0.99)
		},
	} {
		if len(tables[name]) != len(want) {
			return 0, fmt.Errorf("%s: %d rows, want %d", name, len(tables[name]), len(want))
		}
		for _, r := range tables[name] {
			if w := want[r.row()]; w == nil || !compare(r, w) {
				return 0, fmt.Errorf("%s: the tool has %v, wayside has %+v with p50 %d, p95 %d, p99 %d", name, r, w, w.Quantile(0.5), w.Quantile(0.95), w.Quantile(0.99))
			}
		}
	}
	return len(want), nil
}

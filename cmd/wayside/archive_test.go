package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
)

// archived creates a data directory with 5,000 responses in three epochs around the end of an hour, and two drop
// records in one of them. All of them are archived, to address or to archive/ inside the directory.
func archived(t *testing.T, address string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := openTestStore(t, dir)
	quiet := slog.New(slog.DiscardHandler)
	if address == "" {
		address = filepath.Join(dir, "archive")
	}
	target, err := uploader.OpenTarget(t.Context(), address, uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u, err := uploader.New(uploader.Options{Source: s, Catalogue: s, Target: target, Service: "shop", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 17, 9, 59, 0, 0, time.UTC).UnixMicro()
	for n := range uint64(5) {
		b := &store.Batch{Epoch: uuid.UUID{6: 0x70, 8: 0x80, 15: byte(n%3) + 1}, LastSeq: n*1000 + 1000}
		for seq := n*1000 + 1; seq <= b.LastSeq; seq++ {
			// The times alternate, so that events of both hours are mixed around the end of the hour.
			at := begin + int64(seq)*24_000 + int64(seq%7)*1_000_000
			e := event.Event{
				TimeMicros: at, Kind: event.KindRequest, Status: 200, DurationMicros: seq, Method: []byte("GET"), Host: []byte("Shop.test"),
				Path: fmt.Appendf(nil, "/users/%d", seq),
			}
			b.Items = append(b.Items, store.Item{Seq: seq, Host: "shop.test", Method: "GET", Label: "/users/{id}", Event: e})
		}
		if dropped := map[uint64]uint64{1: 90, 4: 77}[n]; dropped > 0 { // 13 of the 90 turned out to be recorded
			b.LastSeq++
			drop := event.Event{TimeMicros: begin + 130_000_000, Kind: event.KindDrop, ErrorType: []byte("full"), RequestBytes: dropped}
			b.Items = append(b.Items, store.Item{Seq: b.LastSeq, Event: drop})
		}
		if err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
		if _, err := u.ArchiveOnce(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openTestStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func command(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := Main(args, &out, &errs); code != want {
		t.Fatalf("wayside %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), errs.String())
	}
	if want == exitOK {
		return out.String() // standard error shows the progress of slow work
	}
	return out.String() + errs.String()
}

// wantTotals checks that the store's accounting and the catalogue have every response.
func wantTotals(t *testing.T, dir string, state catalogue.State, want store.Totals) {
	t.Helper()
	s := openTestStore(t, dir)
	defer s.Close()
	totals, aggregated, err := s.Account(t.Context())
	if err != nil || totals != want || aggregated != want.Applied {
		t.Errorf("totals are %+v, %d in the rows, %v; want %+v", totals, aggregated, err, want)
	}
	var recorded, planned, dropped uint64
	for _, l := range s.Ledgers() {
		recorded += l.Recorded
		dropped += l.Dropped["full"]
		if l.Responses != l.Recorded+l.Dropped["full"] {
			t.Errorf("ledger %+v does not add up", l)
		}
	}
	hourly := uint64(0)
	err = s.Drops(t.Context(), -1<<62, 1<<62, func(_ int64, _ string, responses uint64) { hourly += responses })
	if dropped != 77 || hourly != 77 || err != nil {
		t.Errorf("%d dropped, %d by the hour, %v; want 77", dropped, hourly, err)
	}
	err = s.Plans(t.Context(), func(p *catalogue.Plan) error {
		if p.State != state {
			t.Errorf("%s is %s", p.Key, p.State)
		}
		planned += p.Rows
		return nil
	})
	if err != nil || recorded != want.Applied || planned != want.Archived {
		t.Errorf("%d recorded, %d planned, %v", recorded, planned, err)
	}
}

// TestArchiveOnS3 restores and rebuilds from a real S3 server, drop records included.
func TestArchiveOnS3(t *testing.T) {
	server := s3test.Start(t)
	for _, setting := range server.Env() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	url := server.URL("{service}")
	dir := archived(t, strings.ReplaceAll(url, "{service}", "shop"))
	from := []string{"--archive", url, "--service", "shop"}
	run := func(want int, args ...string) string { return command(t, want, append(args, from...)...) }

	for _, origin := range []string{"best", "statistics", "events"} {
		out := run(exitOK, "archive", "rebuild", "--data", dir, "--origin", origin)
		if !strings.Contains(out, "0 differ, and 0 exist on only one side") || origin != "statistics" && !strings.Contains(out, "not recorded, according to drop records: 77 responses") {
			t.Errorf("from %s: %s", origin, out)
		}
	}
	rebuilt, restored := filepath.Join(t.TempDir(), "rebuilt"), filepath.Join(t.TempDir(), "restored")
	run(exitOK, "archive", "rebuild", "--data", t.TempDir(), "--into", rebuilt)
	wantTotals(t, rebuilt, catalogue.Deleted, store.Totals{Applied: 5000, Archived: 5000, Deleted: 5000})
	run(exitOK, "archive", "verify", "--data", rebuilt)
	run(exitOK, "archive", "restore", "--data", t.TempDir(), "--into", restored)
	wantTotals(t, restored, catalogue.Verified, store.Totals{Applied: 5000, Archived: 5000})
	command(t, exitOK, "archive", "verify", "--data", restored)
	if out := run(exitOK, "archive", "ls", "--bucket", "--data", t.TempDir()); !strings.Contains(out, "shop") {
		t.Error(out)
	}
	if out := run(exitOK, "archive", "cat", "--data", t.TempDir(), "--drops"); strings.Count(out, "\n") != 5002 {
		t.Errorf("%d lines", strings.Count(out, "\n"))
	}
}

func TestArchiveServeAnswersAndChangesNothing(t *testing.T) {
	dir := archived(t, "")
	into := filepath.Join(t.TempDir(), "restored")
	command(t, exitOK, "archive", "restore", "--data", dir, "--into", into)
	before := fileSums(t, into)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	served := make(chan error, 1)
	root := newRoot(in, io.Discard)
	root.SetArgs([]string{"archive", "serve", "--data", into, "--admin", "127.0.0.1:0"})
	go func() { served <- root.ExecuteContext(ctx) }()
	first, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(first, "http://")
	base := "http://" + strings.TrimSuffix(strings.Fields(address)[0], "/")
	for path, want := range map[string]string{
		"/api/v1/paths?from=2026-03-17T09:00:00Z&to=2026-03-17T12:00:00Z":                   `"count":5000`,
		"/api/v1/events?from=2026-03-17T09:00:00Z&to=2026-03-17T12:00:00Z&path=/users/4999": `/users/4999`,
		"/api/v1/accounting": `"applied": 5000`,
		"/api/v1/archives":   `"rows":5000`,
		"/api/v1/jobs":       `"archive"`,
		"/api/v1/storage":    `"archived":5000`,
		"/readyz":            "",
		"/metrics":           "wayside_",
		"/":                  "<html",
		"/api/v1/series?path=/users/{id}&from=2026-03-17T09:00:00Z&to=2026-03-17T12:00:00Z": `"count"`,
	} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %s, want %s", path, resp.Status, body, want)
		}
	}
	for _, path := range []string{"/-/job/archive", "/-/job/clean", "/-/reload"} {
		resp, err := http.Post(base+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode/100 == 2 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, fileSums(t, into)); diff != "" {
		t.Errorf("the directory was changed:\n%s", diff)
	}
}

// TestArchiveServeRefusesADamagedStore: an incomplete response would look like a complete one.
func TestArchiveServeRefusesADamagedStore(t *testing.T) {
	dir := archived(t, "")
	into := filepath.Join(t.TempDir(), "restored")
	command(t, exitOK, "archive", "restore", "--data", dir, "--into", into)
	tables, err := filepath.Glob(filepath.Join(into, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	body, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)/2] ^= 4
	if err := os.WriteFile(tables[0], body, 0o600); err != nil {
		t.Fatal(err)
	}
	before := fileSums(t, into)
	said := command(t, exitFailure, "archive", "serve", "--data", into, "--admin", "127.0.0.1:0")
	if !strings.Contains(said, "cannot read the store in "+into+", and nothing was changed") || !strings.Contains(said, "archive rebuild") {
		t.Error(said)
	}
	if diff := cmp.Diff(before, fileSums(t, into)); diff != "" {
		t.Errorf("the directory was changed:\n%s", diff)
	}
	if said = command(t, exitFailure, "verify", "--data", into); !strings.Contains(said, "is damaged; the next start will set it aside") {
		t.Error(said)
	}
}

// fileSums returns the hashes of all files below dir except locks.
func fileSums(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".lock") {
			return err
		}
		content, err := os.ReadFile(path)
		sums[path] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestArchiveRebuild(t *testing.T) {
	dir := archived(t, "")
	for _, origin := range []string{"best", "statistics", "events"} {
		if out := command(t, exitOK, "archive", "rebuild", "--data", dir, "--origin", origin); !strings.Contains(out, "0 differ, and 0 exist on only one side") {
			t.Errorf("from %s: %s", origin, out)
		}
	}
	into := filepath.Join(t.TempDir(), "new")
	command(t, exitOK, "archive", "rebuild", "--data", dir, "--into", into)
	command(t, exitFailure, "archive", "rebuild", "--data", dir, "--into", into)
	wantTotals(t, into, catalogue.Deleted, store.Totals{Applied: 5000, Archived: 5000, Deleted: 5000})
	archive := "file://" + filepath.Join(dir, "archive")
	if out := command(t, exitOK, "archive", "rebuild", "--data", into, "--archive", archive); !strings.Contains(out, "0 differ") {
		t.Error(out)
	}
	if out := command(t, exitOK, "archive", "verify", "--data", into, "--archive", archive); !strings.Contains(out, "as it should be") {
		t.Error(out)
	}
}

func TestArchiveRestore(t *testing.T) {
	dir := archived(t, "")
	into := filepath.Join(t.TempDir(), "new")
	out := command(t, exitOK, "archive", "restore", "--data", dir, "--into", into, "--output", "json")
	var done struct{ Rows, Lines int }
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Rows != 5000 || done.Lines != 5002 {
		t.Fatalf("%s, %v", out, err)
	}
	wantTotals(t, into, catalogue.Verified, store.Totals{Applied: 5000, Archived: 5000})
	for _, args := range [][]string{{"verify"}, {"rebuild"}} {
		command(t, exitOK, append([]string{"archive", args[0], "--data", into}, args[1:]...)...)
	}
	// This range covers only the hour that begins at ten.
	late := filepath.Join(t.TempDir(), "late")
	command(t, exitOK, "archive", "restore", "--data", dir, "--into", late, "--from", "2026-03-17T10")
	if out := command(t, exitOK, "archive", "ls", "--data", late); strings.Contains(out, "hour=09") || !strings.Contains(out, "hour=10") {
		t.Error(out)
	}
	if out := command(t, exitOK, "archive", "cat", "--data", late, "--path", "/users/4999"); strings.Count(out, "\n") != 1 {
		t.Error(out)
	}
	command(t, exitUsage, "archive", "restore", "--data", dir)
}

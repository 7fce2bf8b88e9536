package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/uploader"
)

// archived makes a data directory with 5,000 events of three epochs around an hour's end, all archived below its archive/.
func archived(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := openTestStore(t, dir)
	quiet := slog.New(slog.DiscardHandler)
	target, err := uploader.OpenTarget(t.Context(), filepath.Join(dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u, err := uploader.New(uploader.Options{Source: s, Catalogue: s, Target: target, Service: "shop", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 17, 9, 59, 0, 0, time.UTC).UnixMicro()
	for n := range uint64(5) {
		b := &store.Batch{Epoch: uuid.UUID{6: 0x70, 8: 0x80, 15: byte(n%3) + 1}, LastSeq: n*1000 + 1000} //nolint:gosec // small
		for seq := n*1000 + 1; seq <= b.LastSeq; seq++ {
			// Times go to and fro, so that the two hours' events alternate around the hour's end.
			at := begin + int64(seq)*24_000 + int64(seq%7)*1_000_000
			e := event.Event{
				TimeMicros: at, Kind: event.KindRequest, Status: 200, DurationMicros: seq, Method: []byte("GET"), Host: []byte("Shop.test"),
				Path: fmt.Appendf(nil, "/users/%d", seq),
			}
			b.Items = append(b.Items, store.Item{Seq: seq, Host: "shop.test", Method: "GET", Label: "/users/{id}", Event: e})
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
	return out.String() + errs.String()
}

// wantTotals checks the store's accounting and that the catalogue knows every response.
func wantTotals(t *testing.T, dir string, state catalogue.State, want store.Totals) {
	t.Helper()
	s := openTestStore(t, dir)
	defer s.Close()
	totals, aggregated, err := s.Account(t.Context())
	if err != nil || totals != want || aggregated != want.Applied {
		t.Errorf("totals are %+v, %d in the rows, %v; want %+v", totals, aggregated, err, want)
	}
	var recorded, planned uint64
	for _, l := range s.Ledgers() {
		recorded += l.Recorded
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

func TestArchiveRebuild(t *testing.T) {
	dir := archived(t)
	for _, origin := range []string{"best", "statistics", "events"} {
		if out := command(t, exitOK, "archive", "rebuild", "--data", dir, "--origin", origin); !strings.Contains(out, "0 differ, 0 are on one side") {
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
	dir := archived(t)
	into := filepath.Join(t.TempDir(), "new")
	out := command(t, exitOK, "archive", "restore", "--data", dir, "--into", into, "--output", "json")
	var done struct{ Rows, Lines int }
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Rows != 5000 || done.Lines != 5000 {
		t.Fatalf("%s, %v", out, err)
	}
	wantTotals(t, into, catalogue.Verified, store.Totals{Applied: 5000, Archived: 5000})
	for _, args := range [][]string{{"verify"}, {"rebuild"}} {
		command(t, exitOK, append([]string{"archive", args[0], "--data", into}, args[1:]...)...)
	}
	// Only the hour after ten.
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

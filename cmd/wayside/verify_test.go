package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool"
	"github.com/wayside-proxy/wayside/test/s3test"
)

// leaveSpool creates the spool of a dead process below dir, in which some responses have been acknowledged.
func leaveSpool(t *testing.T, dir string, responses int, acked uint64) {
	t.Helper()
	s, err := spool.Open(spool.Options{
		Dir: filepath.Join(dir, datadir.SpoolDir), QuarantineDir: filepath.Join(dir, datadir.Quarantine), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range responses {
		s.Record(&event.Event{TimeMicros: 1_790_000_000_000_000 + int64(i), Kind: event.KindRequest, Status: 200, Path: []byte("/")})
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack(t.Context(), s.Epoch(), acked); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantSaid runs verify and checks that its output contains all parts, and that verify leaves no copy behind.
func wantSaid(t *testing.T, code int, dir string, parts ...string) {
	t.Helper()
	said := command(t, code, "verify", "--data", dir)
	for _, part := range parts {
		if !strings.Contains(said, part) {
			t.Errorf("no %q in\n%s", part, said)
		}
	}
	wantNoCopies(t, dir)
}

func wantNoCopies(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, ".verify-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestVerifyOfAnotherDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("hi"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, exitFailure, dir, "no wayside data here: "+dir)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d entries in it now, %v", len(entries), err)
	}
}

func TestVerifyWithoutAStore(t *testing.T) {
	never := t.TempDir()
	leaveSpool(t, never, 40, 0)
	wantSaid(t, exitOK, never, "skipped: there is no store")

	dir := archived(t, "")
	wantSaid(t, exitOK, dir)
	if err := os.RemoveAll(filepath.Join(dir, datadir.StoreDir)); err != nil {
		t.Fatal(err)
	}
	leaveSpool(t, dir, 40, 25)
	wantSaid(t, exitFailure, dir, "store is gone: the next start counts the events that it acknowledged as quarantined",
		"events up to 25 were acknowledged, but the store has them only up to 0")
	if err := os.Remove(filepath.Join(dir, datadir.StoreDir+".lock")); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, exitFailure, dir, "events up to 25 were acknowledged, but the store has them only up to 0")
}

// TestVerifyBesideAStaleRunFile: the run.json of a killed process does not stop commands that work on the files.
func TestVerifyBesideAStaleRunFile(t *testing.T) {
	dir := archived(t, "")
	leaveSpool(t, dir, 10, 0)
	if err := datadir.WriteInfo(dir, datadir.Info{PID: 1, Admin: "http://127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, exitOK, dir, "spool figures")
	if err := os.Truncate(filepath.Join(dir, datadir.RunFile), 0); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, exitOK, dir, "spool figures")
}

// TestVerifyWithoutTheCertificates: every command refuses a configuration with which no process would start.
func TestVerifyWithoutTheCertificates(t *testing.T) {
	dir := archived(t, "")
	t.Setenv("WAYSIDE_ARCHIVE_URL", "s3://bucket/prefix?endpoint=https://127.0.0.1:2&region=us-east-1")
	t.Setenv("WAYSIDE_ARCHIVE_CA_FILE", filepath.Join(dir, "none.pem"))
	wantSaid(t, exitConfig, dir, "environment WAYSIDE_ARCHIVE_CA_FILE: archive.ca_file", "none.pem")
}

// TestVerifyNamesReportsOfLosses: verify names a report in the quarantine that has no damaged file beside it.
func TestVerifyNamesReportsOfLosses(t *testing.T) {
	dir := archived(t, "")
	aside := filepath.Join(dir, datadir.Quarantine)
	if err := os.MkdirAll(aside, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a-spool-x-queue.db", "a-spool-x-queue.db.txt", "b-spool-x-loss.txt"} {
		if err := os.WriteFile(filepath.Join(aside, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantSaid(t, exitOK, dir, "2 entries", "1 are reports of losses")
}

// TestVerifyOnAFullDisk: without space for a copy of the store's logs, verify checks the rest and says that the store
// was not checked.
func TestVerifyOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("SKIPPED: the test of a full disk needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.CopyFS(dir, os.DirFS(archived(t, ""))); err != nil {
		t.Fatal(err)
	}
	command(t, exitOK, "verify", "--data", dir) // creates the lock files
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for chunk := make([]byte, 4096); err == nil; {
		_, err = f.Write(chunk)
	}
	wantSaid(t, exitFailure, dir, "store", "was not checked, because its logs", "spool figures", "quarantine")
}

// TestVerifyOfADeadVerification: the copy of a killed verify is removed by the next one, and by the next start.
func TestVerifyOfADeadVerification(t *testing.T) {
	dir := archived(t, "")
	at := filepath.Join(dir, ".verify-1", "store")
	if err := os.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, exitOK, dir)
}

// TestVerifyEndsInOrder: SIGTERM ends a verify that is waiting for the archive, and no copy is left behind.
func TestVerifyEndsInOrder(t *testing.T) {
	server := s3test.Start(t)
	for _, setting := range server.Env() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	pass := newForwarder(t, server).plain
	var hang atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hang.Load() {
			pass.ServeHTTP(w, r)
			return
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM) // ends the test if no one handles the signal
		<-r.Context().Done()
	}))
	defer front.Close()
	address := strings.ReplaceAll(server.URL("shop"), server.Endpoint, front.URL)
	t.Setenv("WAYSIDE_ARCHIVE_URL", address)
	dir := archived(t, address)
	command(t, exitOK, "verify", "--data", dir)
	hang.Store(true)
	if said := command(t, exitFailure, "verify", "--data", dir); !strings.Contains(said, "verify: context canceled") {
		t.Error(said)
	}
	wantNoCopies(t, dir)
}

// TestVerifyTellsWhatItCouldNotAsk: an archive that refuses access is distinguished from one that lacks an object.
func TestVerifyTellsWhatItCouldNotAsk(t *testing.T) {
	server := s3test.Start(t)
	settings := map[string]string{}
	for _, setting := range server.Env() {
		name, value, _ := strings.Cut(setting, "=")
		settings[name] = value
		t.Setenv(name, value)
	}
	t.Setenv("WAYSIDE_ARCHIVE_URL", server.URL("shop"))
	dir := archived(t, server.URL("shop"))
	wantSaid(t, exitOK, dir)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name := range settings {
		if strings.Contains(name, "KEY") {
			t.Setenv(name, "")
		}
	}
	none := command(t, exitFailure, "verify", "--data", dir)
	if !strings.Contains(none, "wayside: not everything could be checked") || !strings.Contains(none, "NOT CHECKED") ||
		!strings.Contains(none, "not checked: v1/") || strings.Contains(none, "PROBLEM") || strings.Contains(none, "as promised") {
		t.Error(none)
	}
	for name, value := range settings {
		t.Setenv(name, value)
	}
	t.Setenv("WAYSIDE_ARCHIVE_URL", server.URL("elsewhere"))
	wantSaid(t, exitOK, dir) // the objects are found in the former archive
	t.Setenv("WAYSIDE_ARCHIVE_URL", server.URL("shop"))
	found, err := filepath.Glob(server.ObjectPath("shop/v1/dt=*/*/*.gz"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	if err := os.RemoveAll(found[0]); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, exitFailure, dir, "wayside: not everything is as promised", "1 PROBLEMS")
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// TestRebuildIntoWhatIsInUse: while a books process is using the directory, the ledger backup of an earlier store is
// kept.
func TestRebuildIntoWhatIsInUse(t *testing.T) {
	dir, into := archived(t, ""), t.TempDir()
	kept := filepath.Join(into, datadir.StoreDir+".ledgers")
	if err := os.WriteFile(kept, []byte("of the one before"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := datadir.Acquire(into, datadir.CollectLock)
	if err != nil {
		t.Fatal(err)
	}
	if said := command(t, exitInUse, "archive", "rebuild", "--data", dir, "--into", into); !strings.Contains(said, "data directory is in use") {
		t.Error(said)
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != "of the one before" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(into, datadir.StoreDir)); err == nil {
		t.Error("there is a store now")
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	command(t, exitOK, "archive", "rebuild", "--data", dir, "--into", into)
	if text, err := os.ReadFile(kept); err != nil || !bytes.HasPrefix(text, []byte("wayside ledgers ")) {
		t.Errorf("%q, %v", text, err)
	}
	wantTotals(t, into, catalogue.Deleted, store.Totals{Applied: 5000, Archived: 5000, Deleted: 5000})
}

// TestRebuildMovesTheStoreLast: a rebuild that is interrupted while it moves its files into place leaves no store, so that the next one
// starts from the beginning.
func TestRebuildMovesTheStoreLast(t *testing.T) {
	dir, into := archived(t, ""), t.TempDir()
	obstacle := filepath.Join(into, datadir.StoreDir+".ledgers")
	if err := os.MkdirAll(filepath.Join(obstacle, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, exitFailure, "archive", "rebuild", "--data", dir, "--into", into)
	if _, err := os.Stat(filepath.Join(into, datadir.StoreDir)); err == nil {
		t.Error("there is a store without its ledgers")
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	command(t, exitOK, "archive", "rebuild", "--data", dir, "--into", into)
	if text, err := os.ReadFile(obstacle); err != nil || !bytes.HasPrefix(text, []byte("wayside ledgers ")) {
		t.Errorf("%q, %v", text, err)
	}
	wantTotals(t, into, catalogue.Deleted, store.Totals{Applied: 5000, Archived: 5000, Deleted: 5000})
}

// TestRebuildIntoVolume: the new directory may be a mount point, so that files cannot be renamed into it.
func TestRebuildIntoVolume(t *testing.T) {
	dir, into := archived(t, ""), t.TempDir()
	if err := syscall.Mount("tmpfs", into, "tmpfs", 0, "size=256m"); err != nil {
		t.Skipf("SKIPPED, no file system can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(into, 0) })
	command(t, exitOK, "archive", "rebuild", "--data", dir, "--into", into)
	wantTotals(t, into, catalogue.Deleted, store.Totals{Applied: 5000, Archived: 5000, Deleted: 5000})
	if _, err := os.Stat(filepath.Join(into, datadir.StoreDir+".building")); err == nil {
		t.Error("what it was made in is left behind")
	}
}

// TestMissingObjectsAreNamed: every command that reads the archive names damaged objects, and objects that are in the
// catalogue but not in the archive. Its exit code is then 1.
func TestMissingObjectsAreNamed(t *testing.T) {
	dir := archived(t, "")
	objects, err := filepath.Glob(filepath.Join(dir, "archive/v1/dt=*/hour=*/*.ndjson.gz"))
	if err != nil || len(objects) < 3 {
		t.Fatal(objects, err)
	}
	lost, broken := objects[0], objects[len(objects)-1]
	stats := strings.Replace(lost, "/v1/", "/v1/stats/", 1)
	for _, name := range []string{lost, lost + ".json", stats, stats + ".json"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	key := func(name string) string { return strings.TrimPrefix(name, filepath.Join(dir, "archive")+"/") }
	check := func(what string, more ...string) {
		t.Helper()
		said := command(t, exitFailure, append([]string{"archive", what, "--data", dir}, more...)...)
		if !strings.Contains(said, key(lost)+": was verified on ") || !strings.Contains(said, " but is missing (") || !strings.Contains(said, ": 1 object of the archive") {
			t.Errorf("%s: %.2000s", what, said)
		}
	}
	check("cat", "--path", "/none")
	check("restore", "--into", filepath.Join(t.TempDir(), "into"))
	check("rebuild", "--into", filepath.Join(t.TempDir(), "into"))
	if said := command(t, exitOK, "archive", "cat", "--data", dir, "--path", "/none", "--of-service", "other"); strings.Contains(said, "missing") {
		t.Errorf("another service's: %s", said)
	}
	if err := os.WriteFile(broken, body[:len(body)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	if said := command(t, exitFailure, "archive", "cat", "--data", dir, "--path", "/none"); !strings.Contains(said, key(broken)+": ") || !strings.Contains(said, "; 0 of its lines had already been printed") {
		t.Error(said)
	}
	if said := command(t, exitFailure, "archive", "verify", "--data", dir, "--quick"); strings.Contains(said, " 0 lines") || !strings.Contains(said, " rows, 3 epochs; ") {
		t.Error(said)
	}
}

// TestRebuildElsewhere: a catalogue that is rebuilt into another directory finds the archive in the first one. If the
// first one no longer exists, the error says to name it with --archive.
func TestRebuildElsewhere(t *testing.T) {
	dir, into := archived(t, ""), filepath.Join(t.TempDir(), "into")
	command(t, exitOK, "archive", "rebuild", "--data", dir, "--into", into)
	command(t, exitOK, "verify", "--data", into)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(filepath.Join(dir, "archive"), moved); err != nil {
		t.Fatal(err)
	}
	said := command(t, exitFailure, "verify", "--data", into)
	if strings.Count(said, "; if the archive has moved, name it with --archive") != 1 || strings.Contains(said, "no such file") || !strings.Contains(said, ".gz: not found in file://"+dir+"/archive") {
		t.Error(said)
	}
	command(t, exitOK, "verify", "--data", into, "--archive", "file://"+moved)
}

// TestEpochsAreBroughtBackInOrder: the newest restored events are those of the newest epoch, whatever the order in the archive.
func TestEpochsAreBroughtBackInOrder(t *testing.T) {
	dir := archived(t, "")
	for range 4 { // a random order would be right in one of six cases
		for _, what := range []string{"restore", "rebuild"} {
			into := filepath.Join(t.TempDir(), "into")
			command(t, exitOK, "archive", what, "--data", dir, "--into", into)
			s := openTestStore(t, into)
			var epochs []byte
			for _, l := range s.Ledgers() {
				if l.Epoch != uuid.Nil {
					epochs = append(epochs, l.Epoch[15])
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(epochs, []byte{1, 2, 3}) {
				t.Errorf("%s: epochs %v, want 1, 2 and 3", what, epochs)
			}
		}
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// TestRebuildIntoWhatIsInUse: while a books process has the directory, what it kept of a store that was here before stays.
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

// TestRebuildMovesTheStoreLast: broken off while what it made is moved in, a rebuild leaves no store, so that the next one begins anew.
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

// TestRebuildIntoVolume: the new directory may be a mount point, out of which and into which nothing can be renamed.
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

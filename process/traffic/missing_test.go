package traffic

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/spool"
)

// TestMissingFiles: a part is reported at the second look after one of its files was removed, and never if the file has not been seen before.
func TestMissingFiles(t *testing.T) {
	dir := t.TempDir()
	watched := map[string][]string{
		"data directory": {filepath.Join(dir, "lock")},
		"spool":          {filepath.Join(dir, "spool", "ledger"), filepath.Join(dir, "spool", "queue*.db")},
		"store":          {filepath.Join(dir, "store", "MANIFEST")},
		"archive":        {filepath.Join(dir, "archive", "v1")},
	}
	make := func(names ...string) {
		t.Helper()
		for _, name := range names {
			name = filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := newMissing()
	want := func(when string, parts ...string) {
		t.Helper()
		if got := m.look(watched); !slices.Equal(got, parts) {
			t.Errorf("%s: %v, want %v", when, got, parts)
		}
	}
	want("nothing is there yet")
	want("and still not")
	make("lock", "spool/ledger", "spool/queue.db", "spool/queue-1.db", "store/MANIFEST", "archive/v1")
	want("all are there")
	if err := os.Remove(filepath.Join(dir, "spool", "queue.db")); err != nil {
		t.Fatal(err)
	}
	want("the queue goes on in another file")
	want("still")
	if err := os.RemoveAll(filepath.Join(dir, "spool")); err != nil {
		t.Fatal(err)
	}
	want("it may be back at once")
	want("it is not", "spool")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	want("the rest may", "spool")
	want("it is not either", "data directory", "spool", "store", "archive")
	make("lock", "store/MANIFEST", "archive/v1")
	want("put back", "spool")
}

// TestMissingStoreWithoutBooks: without a responding books process, the store is not checked, because closing it removes its log.
func TestMissingStoreWithoutBooks(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "store", "00001.mem")
	with := map[string][]string{"store": {filepath.Join(dir, "store", "*.mem")}, "archive": nil}
	without := map[string][]string{"archive": nil}
	m := newMissing()
	look := func(when string, watched map[string][]string, want ...string) {
		t.Helper()
		if got := m.look(watched); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	begin := func() {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(log), 0o750), os.WriteFile(log, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	look("it is open", with)
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		look("it is closed", without)
	}
	begin()
	look("it is open again", with)
	if err := os.RemoveAll(filepath.Dir(log)); err != nil {
		t.Fatal(err)
	}
	look("it may be back at once", with)
	look("it is not", with, "store")
	look("the books process has gone, and the store is not back", without, "store")
}

// TestFilesRemovedBeforeTheFirstLook: an open store has its MANIFEST, so it is missing even if no look has found it.
func TestFilesRemovedBeforeTheFirstLook(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "store", "MANIFEST")
	watched := map[string][]string{"store": {manifest}}
	m := newMissing()
	m.look(nil) // no books process responds yet
	m.expect(watched["store"])
	if got := m.look(watched); len(got) > 0 {
		t.Errorf("it may be back at once: %v", got)
	}
	m.expect(watched["store"])
	if got := m.look(watched); !slices.Equal(got, []string{"store"}) {
		t.Errorf("at the second look: %v", got)
	}
}

// TestFullDiskIsNamed: if no books process is running because the disk is full, the description says so, because nobody would suspect it.
func TestFullDiskIsNamed(t *testing.T) {
	dir, full := t.TempDir(), t.TempDir()
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("SKIPPED, no file system can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(full, 0) })
	set, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool"), QuarantineDir: filepath.Join(dir, "quarantine")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	for data, want := range map[string]bool{full: true, dir: false} {
		said := (&health{dataDir: data, spool: set}).meanwhile()
		if strings.Contains(said, "; the disk is full: 4194304 bytes free in "+data+", and the books process needs at least 8388608") != want {
			t.Errorf("%s: %s", data, said)
		}
	}
}

// TestStoreIsNotWatchedWithoutBooks: files of the store are watched only while a books process responds.
func TestStoreIsNotWatchedWithoutBooks(t *testing.T) {
	dir := t.TempDir()
	set, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool"), QuarantineDir: filepath.Join(dir, "quarantine")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	w := fileWatch{
		dir: &dataDir{path: dir}, epoch: set.Epoch().String(), admin: admin.New(admin.Options{}), archive: func() string { return "" },
	}
	watched, expected := w.watched(t.Context())
	if _, known := watched["store"]; known || len(watched["spool"]) == 0 || len(expected) > 0 {
		t.Error(watched, expected)
	}
}

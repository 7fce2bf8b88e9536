package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Each part is missed at the second look after one of its files has gone, and not before it has been seen.
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
	m := missing{seen: map[string]bool{}, gone: map[string]int{}}
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

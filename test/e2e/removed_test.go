package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRemovedFiles: files that are removed under the running process show in log and readiness, whichever part they are of, single files of
// the store included; and a start on a directory that was emptied says that the books begin there.
func TestRemovedFiles(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{
		"archive": "archive", "store": "store", "store/*.sst": "store", "store/*.vlog": "store", ".": "data directory, spool, store, archive",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, log := newWayside(t, origin(t))
			start(t, w)
			eventually(t, "a new directory is said to be one", func() bool { return strings.Contains(log.String(), "the books begin here") })
			send(t, w, 60, 200)
			if _, err := w.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".sst") {
				if err := w.Stop(ReadyTimeout); err != nil { // writes the first table
					t.Fatal(err)
				}
				start(t, w)
				eventually(t, "the books are open", func() bool { _, err := w.Accounting(t.Context()); return err == nil })
			}
			time.Sleep(6 * time.Second) //nolint:forbidigo // it looks every five seconds, and has to have seen them
			if ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose"); err != nil || !strings.Contains(string(ready), "[+] files: in place") {
				t.Fatalf("%s, %v", ready, err)
			}
			remove(t, w.DataDir, name)
			eventually(t, "it is noticed", func() bool {
				ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
				return err == nil && strings.Contains(string(ready), "[!] files: removed while wayside uses them: "+part+"\n") && strings.Contains(log.String(), "files were removed while wayside uses them")
			})
			if name != "." {
				return
			}
			w.Kill()
			start(t, w)
			eventually(t, "the new start says so", func() bool { return strings.Count(log.String(), "the books begin here") == 2 })
		})
	}
}

// remove takes away what a pattern in dir matches; "." is all that is in it.
func remove(t *testing.T, dir, pattern string) {
	t.Helper()
	if pattern == "." {
		pattern = "*"
	}
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
}

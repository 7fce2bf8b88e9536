package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/verify"
)

// TestRemovedFiles removes files while the process is using them, including single files of the store. Log and
// readiness must report which part is missing. A start on an emptied directory must report that the books begin there.
func TestRemovedFiles(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{
		"archive": "archive", "store": "store", "store/*.sst": "store", "store/*.vlog": "store", ".": "data directory, spool, store, archive",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, log := newWayside(t, origin(t))
			start(t, w)
			eventually(t, "the log says that the directory is new", func() bool { return strings.Contains(log.String(), "starting new books") })
			send(t, w, 60, 200)
			if _, err := w.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".sst") {
				if err := w.Stop(ReadyTimeout); err != nil { // this writes the first table
					t.Fatal(err)
				}
				start(t, w)
				eventually(t, "the books are open", func() bool { _, err := w.Accounting(t.Context()); return err == nil })
			}
			if name != "store" { // whose files are known without a look
				time.Sleep(6 * time.Second) //nolint:forbidigo // wayside checks the files every five seconds, and must have seen them at least once
			}
			if ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose"); err != nil || !strings.Contains(string(ready), "[+] files: in place") {
				t.Fatalf("%s, %v", ready, err)
			}
			remove(t, w.DataDir, name)
			eventually(t, "wayside reports the missing files", func() bool {
				ready, err := w.Ask(t.Context(), http.MethodGet, "/readyz?verbose")
				return err == nil && strings.Contains(string(ready), "[!] files: removed while wayside was using them: "+part+"\n") && strings.Contains(log.String(), "files were removed while wayside was using them")
			})
			if name != "." {
				var found verify.Report
				status, body := askAPI(t, w, "POST /api/v1/verify?local=true", "")
				if err := json.Unmarshal(body, &found); err != nil || status != http.StatusOK || found.OK ||
					!strings.Contains(string(body), `"removed while wayside was using them: `+part+`"`) {
					t.Errorf("wayside verify: %d %s, %v", status, body, err)
				}
				return
			}
			w.Kill()
			start(t, w)
			eventually(t, "the new start reports that the books begin", func() bool { return strings.Count(log.String(), "starting new books") == 2 })
		})
	}
}

// remove deletes the files in dir that match a pattern; "." matches all of them.
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

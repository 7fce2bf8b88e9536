package e2e

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDataOfAnOlderWayside starts wayside on a data directory that a build without routes left behind: a store of
// schema 5 with an archive, and the spool of a traffic process that was killed. testdata/data-schema5.tar.gz was
// written by commit 0556c22 (181 responses in the store, 361 in the journal and the queue). Everything must be counted
// once, as before, together with new responses.
func TestDataOfAnOlderWayside(t *testing.T) {
	t.Parallel()
	w, _ := newWayside(t, origin(t))
	unpack(t, filepath.Join("testdata", "data-schema5.tar.gz"), w.DataDir)
	start(t, w)
	send(t, w, 50, 200)
	a, err := w.AwaitSettled(t.Context())
	if err != nil || a.Recorded != 181+361+50 || a.Applied != a.Recorded || a.Quarantined != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	body, err := w.Ask(t.Context(), http.MethodGet, "/api/v1/paths?from=2026-11-29T18:00:00Z&to=2026-11-29T19:00:00Z&host=127.0.0.1:18390")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Totals struct{ Count, Errors uint64 }
		Paths  []struct {
			Path, Route string
			Count       uint64
			Status      map[string]uint64
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"/": 2, "/users/{id}": 360, "/missing/{id}": 90, "/broken": 90}
	for _, row := range answer.Paths {
		if want[row.Path] != row.Count || row.Route != "" {
			t.Errorf("%+v", row)
		}
		delete(want, row.Path)
	}
	if answer.Totals.Count != 542 || answer.Totals.Errors != 90 || len(want) > 0 {
		t.Errorf("%+v, without %v", answer.Totals, want)
	}
	if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
		t.Fatal(err)
	}
	verified, err := w.Ask(t.Context(), http.MethodPost, "/api/v1/verify")
	if err != nil || !strings.Contains(string(verified), `"ok":true`) && !strings.Contains(string(verified), `"ok": true`) {
		t.Errorf("%s, %v", verified, err)
	}
}

// unpack extracts an archive whose files are below data/ into dir.
func unpack(t *testing.T, name, dir string) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for in := tar.NewReader(zip); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag == tar.TypeDir {
			if err := root.MkdirAll(strings.TrimSuffix(head.Name, "/"), 0o750); err != nil {
				t.Fatal(err)
			}
			continue
		}
		body, err := io.ReadAll(in)
		if err == nil {
			err = root.WriteFile(head.Name, body, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

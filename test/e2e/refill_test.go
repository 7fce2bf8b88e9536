package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDamagedStoreComesBack damages a store so that it cannot be opened, or damages it in use and runs a verification.
// The store is set aside, and the archive refills the next one, although the books process is killed several times. In
// the end, every hour must have the same figures as before. (books.TestRefill and the fault harness count events that
// were not archived.)
func TestDamagedStoreComesBack(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*testing.T, *Wayside){
		"when it is opened": func(t *testing.T, w *Wayside) {
			if err := os.WriteFile(filepath.Join(w.DataDir, "store", "MANIFEST"), []byte("not a manifest"), 0o600); err != nil {
				t.Fatal(err)
			}
			start(t, w)
		},
		"in use": func(t *testing.T, w *Wayside) {
			start(t, w)
			eventually(t, "the books are open", func() bool { _, err := w.Accounting(t.Context()); return err == nil })
			tables, err := filepath.Glob(filepath.Join(w.DataDir, "store", "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatal(tables, err)
			}
			f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte("damage"), 100)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Ask(t.Context(), http.MethodPost, "/api/v1/verify"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, log := newWayside(t, origin(t))
			start(t, w)
			send(t, w, 1500, 200)
			if _, err := w.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := hours(t, w)
			if err := w.Stop(40 * time.Second); err != nil { // this archives everything and writes tables
				t.Fatal(err)
			}
			damage(t, w)
			for range 3 {
				time.Sleep(150 * time.Millisecond) //nolint:forbidigo // kill the process in the middle of its work
				w.KillBooks()
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := w.AwaitRefill(ctx); err != nil {
				t.Fatal(err, log)
			}
			a, err := w.AwaitSettled(t.Context())
			if err != nil || a.Applied != 1500 || a.Archived != 1500 || a.Quarantined != 0 {
				t.Errorf("%+v, %v", a, err)
			}
			if after := hours(t, w); after != before {
				t.Errorf("the paths were\n%s and are now\n%s", before, after)
			}
			aside, err := filepath.Glob(filepath.Join(w.DataDir, "quarantine", "*-store.txt"))
			if err != nil || len(aside) != 1 || !strings.Contains(log.String(), "has been set aside; a new, empty one was created") {
				t.Errorf("set aside: %v, %v\n%s", aside, err, log)
			}
		})
	}
}

// hours is the response of GET /api/v1/paths for all hours, without the fields that depend on the current time.
func hours(t *testing.T, w *Wayside) string {
	t.Helper()
	body, err := w.Ask(t.Context(), http.MethodGet, "/api/v1/paths?from=-30d&limit=10000")
	var answer struct {
		Paths []map[string]any `json:"paths"`
	}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range answer.Paths {
		delete(row, "rate")
		delete(row, "seconds")
	}
	body, _ = json.Marshal(answer)
	return string(body)
}

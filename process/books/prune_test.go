package books

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/uploader"
)

// TestPruneTouchesOwnFilesOnly: the directory of an archive may have temporary files of others.
func TestPruneTouchesOwnFilesOnly(t *testing.T) {
	dir := t.TempDir()
	const object = "v1/dt=2026-11-23/hour=09/shop_pod-0_0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b_1-20.ndjson.gz"
	files := map[string]bool{object + ".tmp": true, object: false, "v1/notes.tmp": false, "v1/src/x.ndjson.gz.tmp": false, "v1/dt=2026-11-23/hour=09/notes.tmp": false}
	for name := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-2 * staleAfter)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open(store.Options{Dir: filepath.Join(t.TempDir(), "store"), QuarantineDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := &books{store: s, cfg: &configs.Config{Archive: configs.Archive{URL: "file://" + dir}}}
	if err := b.prune(t.Context(), &uploader.Result{}); err != nil {
		t.Fatal(err)
	}
	for name, gone := range files {
		if _, err := os.Stat(filepath.Join(dir, name)); os.IsNotExist(err) != gone {
			t.Errorf("%s: %v", name, err)
		}
	}
}

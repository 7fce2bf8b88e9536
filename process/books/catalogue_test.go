package books

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// TestFormerArchivesAreLogged: a start with an archive that does not have the objects in the catalogue is logged.
func TestFormerArchivesAreLogged(t *testing.T) {
	dir := t.TempDir()
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": dir}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	b, err := open(t.Context(), cfg, nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	entries := map[byte]string{1: "data:archive", 2: "file:///former", 3: "file:///former", 4: "data:former"}
	for id, target := range entries {
		epoch := uuid.UUID{6: 0x70, 8: 0x80, 15: id}
		p := catalogue.Plan{State: catalogue.Deleted, Hour: 400_000, Epoch: epoch, Key: "v1/dt=2026-03-17/hour=10/shop_x_" + epoch.String() + "_1-1.ndjson.gz", Target: target, MaxTime: time.Now()}
		if err := b.store.ImportEpoch(t.Context(), store.ImportedEpoch{Epoch: epoch, LastSeq: 1, Plans: []catalogue.Plan{p}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.logFormerArchives(t.Context()), b.close()); err != nil {
		t.Fatal(err)
	}
	// The log has a URL that --archive accepts.
	inside := "file://" + dir + "/former"
	if _, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": dir, "archive.url": inside}}); err != nil {
		t.Error(err)
	}
	if said := log.String(); strings.Count(said, "are in another archive") != 2 || !strings.Contains(said, "objects=1 other="+inside+" ") || !strings.Contains(said, "objects=2 other=file:///former archive=file://"+dir+"/archive") {
		t.Error(said)
	}
}

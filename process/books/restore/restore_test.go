package restore

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

const responses = 300

// archive makes a data directory with the responses of one epoch in two different hours, and archives all of them.
func archive(t *testing.T) (dir string, target uploader.Target) {
	t.Helper()
	dir = t.TempDir()
	s := openStore(t, dir)
	defer func() { _ = s.Close() }()
	target, err := uploader.OpenTarget(t.Context(), filepath.Join(dir, datadir.ArchiveDir), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 17, 9, 59, 0, 0, time.UTC).UnixMicro()
	b := &store.Batch{Epoch: uuid.UUID{6: 0x70, 8: 0x80, 15: 1}, LastSeq: responses}
	for seq := int64(1); seq <= responses; seq++ {
		b.Items = append(b.Items, store.Item{Seq: uint64(seq), Host: "shop.test", Method: "GET", Label: "/users/{id}", Event: event.Event{
			TimeMicros: begin + seq*400_000, Kind: event.KindRequest, Status: 200, DurationMicros: uint64(seq), Method: []byte("GET"),
			Host: []byte("shop.test"), Path: []byte("/users/7"),
		}})
	}
	if err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
	u, err := uploader.New(uploader.Options{Source: s, Catalogue: s, Target: target, Service: "shop", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.ArchiveOnce(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	return dir, target
}

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, datadir.StoreDir), QuarantineDir: filepath.Join(dir, datadir.Quarantine), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantCounted checks that all responses are in the rows of the store in dir, and that every plan in its catalogue has the given state.
func wantCounted(t *testing.T, dir string, state catalogue.State) {
	t.Helper()
	s := openStore(t, dir)
	defer func() { _ = s.Close() }()
	totals, aggregated, err := s.Account(t.Context())
	if err != nil || totals.Applied != responses || aggregated != responses || totals.Archived != responses {
		t.Errorf("%+v, %d in the rows, %v", totals, aggregated, err)
	}
	plans := 0
	err = s.Plans(t.Context(), func(p *catalogue.Plan) error {
		plans++
		if p.State != state {
			t.Errorf("%s is %s", p.Key, p.State)
		}
		return nil
	})
	if err != nil || plans != 2 {
		t.Errorf("%d plans, %v", plans, err)
	}
	if _, err := os.Stat(filepath.Join(dir, buildingDir)); err == nil {
		t.Error("what the store was made in is left behind")
	}
}

// TestBothWaysBack: statistics and events restored from the archive equal those in the store. A directory with a store is refused.
func TestBothWaysBack(t *testing.T) {
	dir, target := archive(t)
	cfg := configs.Default()
	same, err := Compare(t.Context(), target, dir, reader.RebuildOptions{})
	if err != nil || same.Local == nil || same.Local.Equal != 2 || same.Local.Different+same.Local.Missing > 0 {
		t.Errorf("%+v, %v", same.Local, err)
	}
	rebuilt, restored := filepath.Join(t.TempDir(), "rebuilt"), filepath.Join(t.TempDir(), "restored")
	done, err := Statistics(t.Context(), target, rebuilt, &cfg, reader.RebuildOptions{})
	if err != nil || done.Responses != responses || done.Epochs != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	wantCounted(t, rebuilt, catalogue.Deleted)
	copied, err := Events(t.Context(), target, restored, reader.CopyOptions{})
	if err != nil || copied.Rows != responses {
		t.Fatalf("%+v, %v", copied, err)
	}
	wantCounted(t, restored, catalogue.Verified)
	if _, err := Statistics(t.Context(), target, rebuilt, &cfg, reader.RebuildOptions{}); err == nil || !strings.Contains(err.Error(), "already contains a store") {
		t.Error(err)
	}
}

// TestCompareSeesWhatTheStoreLacks: Compare finds a row that is only in the archive.
func TestCompareSeesWhatTheStoreLacks(t *testing.T) {
	_, target := archive(t)
	cfg, late := configs.Default(), filepath.Join(t.TempDir(), "late")
	ten := reader.Range{From: time.Date(2026, 3, 17, 10, 0, 0, 0, time.UTC)}
	if _, err := Statistics(t.Context(), target, late, &cfg, reader.RebuildOptions{Range: ten}); err != nil {
		t.Fatal(err)
	}
	found, err := Compare(t.Context(), target, late, reader.RebuildOptions{})
	if err != nil || found.Local.Equal != 1 || found.Local.Missing != 1 || !strings.Contains(found.Local.Examples[0], "only in the archive") {
		t.Errorf("%+v, %v", found.Local, err)
	}
}

// TestCompareSeesADifference: Compare finds a row that is only in the store, and refuses a directory in use.
func TestCompareSeesADifference(t *testing.T) {
	dir, target := archive(t)
	s := openStore(t, dir)
	b := &store.Batch{Epoch: uuid.UUID{6: 0x70, 8: 0x80, 15: 2}, LastSeq: 1, Items: []store.Item{{Seq: 1, Host: "shop.test", Method: "GET", Label: "/new", Event: event.Event{
		TimeMicros: time.Date(2026, 3, 17, 10, 0, 0, 0, time.UTC).UnixMicro(), Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Path: []byte("/new"),
	}}}}
	if err := errors.Join(s.Apply(b), s.Close()); err != nil {
		t.Fatal(err)
	}
	found, err := Compare(t.Context(), target, dir, reader.RebuildOptions{})
	if err != nil || found.Local.Equal != 2 || found.Local.Missing != 1 || len(found.Local.Examples) != 1 || !strings.Contains(found.Local.Examples[0], "/new") {
		t.Errorf("%+v, %v", found.Local, err)
	}
	lock, err := datadir.Acquire(dir, datadir.CollectLock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	if _, err := Compare(t.Context(), target, dir, reader.RebuildOptions{}); !errors.Is(err, datadir.ErrInUse) {
		t.Error(err)
	}
}

// TestBrokenOff: after an error, the directory contains no store, and another attempt succeeds.
func TestBrokenOff(t *testing.T) {
	into := filepath.Join(t.TempDir(), "into")
	failed := errors.New("broken off")
	if err := newDataDir(into, func(*store.Store) error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(into, datadir.StoreDir)); err == nil {
		t.Error("there is a store")
	}
	if err := newDataDir(into, func(*store.Store) error { return nil }); err != nil {
		t.Error(err)
	}
}

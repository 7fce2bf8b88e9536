package uploader_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// unlistable is a target that cannot be listed.
type unlistable struct{ uploader.Target }

func (unlistable) List(context.Context, string, func(uploader.ObjectInfo) error) error {
	return errors.New("the target is away")
}

// TestStoreBegunAnewArchivesNothingTwice sets aside a store whose last events were archived but not yet acknowledged.
// The spool offers them again, in other batches, to the store that replaces it.
func TestStoreBegunAnewArchivesNothingTwice(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		target, err := uploader.OpenTarget(t.Context(), filepath.Join(dir, "archive"), uploader.TargetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		archiveTwoStores(t, dir, target, func() { // the first store stopped before it had written the statistics of one object
			files, err := filepath.Glob(filepath.Join(dir, "archive/v1/stats/*/*/*.gz*"))
			if err != nil || len(files) < 4 {
				t.Fatalf("%v, %v", files, err)
			}
			for _, name := range files[len(files)-2:] {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
	t.Run("s3", func(t *testing.T) {
		s := s3test.Start(t)
		target, err := uploader.OpenTarget(t.Context(), "s3://"+s.Bucket+"/p?endpoint="+s.Endpoint, uploader.TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey})
		if err != nil {
			t.Fatal(err)
		}
		archiveTwoStores(t, t.TempDir(), target, func() {})
	})
}

func archiveTwoStores(t *testing.T, dir string, target uploader.Target, between func()) {
	const acknowledged = 590
	ctx := t.Context()
	epoch := uuid.Must(uuid.NewV7())
	start := time.Now().UTC().Truncate(time.Hour).Add(-time.Second) // so that batches span two hours
	s := openStore(t, dir)
	for batch := range uint64(8) {
		applyBatch(t, s, epoch, start, batch*500+1)
	}
	if _, err := newUploader(t, s, target).ArchiveOnce(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damageTable(t, filepath.Join(dir, "store"))
	between()

	s = openStore(t, dir)
	defer s.Close()
	if _, err := os.Stat(filepath.Join(dir, "quarantine")); err != nil {
		t.Fatal("the store was not set aside")
	}
	later := uuid.Must(uuid.NewV7())
	if err := s.LimitUnreconciled([]uuid.UUID{epoch}); err != nil {
		t.Fatal(err)
	}
	if unreconciled, _ := s.Unreconciled(later); unreconciled {
		t.Error("an epoch that began later is unreconciled")
	}
	reapply(t, s, epoch, start, acknowledged+1, 900, 3700, 4000, 4100, 5000)
	want := responsesIn(acknowledged+1, 5000)

	if _, err := newUploader(t, s, unlistable{target}).ArchiveOnce(ctx, true); err == nil {
		t.Error("archived without knowing what the target holds")
	}
	if n := plansOf(t, s); len(n) != 0 {
		t.Fatalf("%d plans were made without knowing what the target holds", len(n))
	}
	for range 2 { // the second run has nothing to do
		if _, err := newUploader(t, s, target).ArchiveOnce(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	wantArchivedOnce(t, s, target, 5000, want)

	// The same must hold after a restart: the imports are stored, and later events are archived.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	reapply(t, s, epoch, start, 5001, 6000)
	if _, err := newUploader(t, s, target).ArchiveOnce(ctx, true); err != nil {
		t.Fatal(err)
	}
	wantArchivedOnce(t, s, target, 6000, responsesIn(acknowledged+1, 6000))
}

// TestDamagedRemoteObject: as long as an object of the store that was set aside cannot be read, no event of its epoch
// is archived, because the event may be in that object. When the object has been removed, all are archived.
func TestDamagedRemoteObject(t *testing.T) {
	dir, epoch := t.TempDir(), uuid.Must(uuid.NewV7())
	target := directory(t, dir)
	start := time.Now().UTC().Truncate(time.Hour).Add(-time.Minute)
	s := openStore(t, dir)
	applyBatch(t, s, epoch, start, 1)
	if _, err := newUploader(t, s, target).ArchiveOnce(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), store.Condemn(filepath.Join(dir, "store"), "a test says so")); err != nil {
		t.Fatal(err)
	}
	objects, err := filepath.Glob(filepath.Join(dir, "archive/v1/dt=*/*/*.ndjson.gz"))
	if err != nil || len(objects) != 1 {
		t.Fatal(objects, err)
	}
	body, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(objects[0], body[:len(body)/2], 0o600); err != nil {
		t.Fatal(err)
	}

	s = openStore(t, dir)
	defer s.Close()
	reapply(t, s, epoch, start, 201, 500)
	if _, err := newUploader(t, s, target).ArchiveOnce(t.Context(), true); !errors.Is(err, uploader.ErrRemoteDamaged) {
		t.Errorf("%v", err)
	}
	if n := len(plansOf(t, s)); n != 0 {
		t.Errorf("%d objects were planned", n)
	}
	if err := errors.Join(os.Remove(objects[0]), os.Remove(objects[0]+".json")); err != nil {
		t.Fatal(err)
	}
	if r, err := newUploader(t, s, target).ArchiveOnce(t.Context(), true); err != nil || r.Lines != 300 {
		t.Errorf("%+v, %v", r, err)
	}
}

// wantArchivedOnce checks that the archive has every event up to the last once, and that figures, catalogue and objects agree.
func wantArchivedOnce(t *testing.T, s *store.Store, target uploader.Target, events int, applied uint64) {
	t.Helper()
	ctx := t.Context()
	count, err := uploader.CountTarget(ctx, target)
	if err != nil || count.Lines != events || count.Distinct != events {
		t.Errorf("the archive holds %d lines of %d events, want %d of each, %v", count.Lines, count.Distinct, events, err)
	}
	totals, sum, err := s.Account(ctx)
	if err != nil || totals.Applied != applied || sum != applied || totals.Archived != applied || totals.Deleted > applied {
		t.Errorf("totals are %+v, rows add up to %d, %v; want %d", totals, sum, err, applied)
	}
	checks, err := s.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		for _, p := range c.Problems {
			t.Errorf("%s: %s", c.Name, p)
		}
	}
	plans := plansOf(t, s)
	report, err := reader.Verify(ctx, target, reader.VerifyOptions{Plans: plans})
	if err != nil || len(report.Problems) > 0 || report.Foreign > 0 || report.Known != count.Objects {
		t.Errorf("archive verify: %+v, %v", report, err)
	}
	for i := range plans {
		if _, err := target.Stat(ctx, plans[i].StatsKey); err != nil {
			t.Errorf("statistics of %s: %v", plans[i].Key, err)
		}
	}
	built, err := reader.Rebuild(ctx, target, reader.RebuildOptions{From: reader.FromStatistics})
	if err != nil || built.Responses != uint64(count.Rows) {
		t.Errorf("the statistics objects add up to %+v, %v; the events are %d", built, err, count.Rows)
	}
}

func plansOf(t *testing.T, s *store.Store) (plans []catalogue.Plan) {
	t.Helper()
	if err := s.Plans(t.Context(), func(p *catalogue.Plan) error { plans = append(plans, *p); return nil }); err != nil {
		t.Fatal(err)
	}
	return plans
}

// reapply applies the events that applyBatch generates, but in other batches: starting at first, one batch up to each
// of the ends.
func reapply(t *testing.T, s *store.Store, epoch uuid.UUID, start time.Time, first uint64, ends ...uint64) {
	t.Helper()
	for _, last := range ends {
		b := &store.Batch{Epoch: epoch, LastSeq: last}
		for ; first <= last; first++ {
			b.Items = append(b.Items, itemOf(start, first))
		}
		if err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
}

// responsesIn returns how many of the events from first to last are responses.
func responsesIn(first, last uint64) (n uint64) {
	var start time.Time
	for seq := first; seq <= last; seq++ {
		if it := itemOf(start, seq); it.Event.Kind != event.KindDrop {
			n++
		}
	}
	return n
}

// damageTable flips a bit in the middle of a table.
func damageTable(t *testing.T, dir string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	body, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)/3] ^= 4
	if err := os.WriteFile(tables[0], body, 0o600); err != nil {
		t.Fatal(err)
	}
}

package uploader_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/uploader"
)

// TestStoreOfAnEarlierMomentArchivesNothingTwice damages the log of a killed store. Badger then truncates this log
// silently: the store has events again that it had archived and removed, and its catalogue does not know that. Nothing
// may be archived twice, neither before the spools have reported which epochs exist, nor for an epoch whose spool no
// longer exists.
func TestStoreOfAnEarlierMomentArchivesNothingTwice(t *testing.T) {
	made, killed := t.TempDir(), t.TempDir()
	epoch := uuid.Must(uuid.NewV7())
	start := time.Now().UTC().Truncate(time.Hour).Add(-time.Second)
	s := archiveInParts(t, made, epoch, start)
	if err := os.CopyFS(killed, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(killed, "store", "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	body, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(body, "\x00"))
	older := 0
	for n := range 24 {
		at, cut, retired := 20+n*(used-20)/24, n%2 == 0, n%3 == 0
		t.Run(fmt.Sprintf("byte %d of %d cut=%v retired=%v", at, used, cut, retired), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(killed)); err != nil {
				t.Fatal(err)
			}
			broken := append([]byte(nil), body...)
			if broken[at] ^= 4; cut {
				broken = broken[:at]
			}
			if err := os.WriteFile(filepath.Join(dir, "store", filepath.Base(logs[0])), broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if archiveEarlier(t, dir, epoch, retired) {
				older++
			}
		})
	}
	if older < 12 {
		t.Errorf("only %d of the stores were of an earlier moment", older)
	}
}

// archiveEarlier opens a store that may be older than its archive. It archives both immediately and after the spools
// have been queried, and reports whether anything was missing.
func archiveEarlier(t *testing.T, dir string, epoch uuid.UUID, retired bool) bool {
	t.Helper()
	ctx := t.Context()
	target := directory(t, dir)
	s := openStore(t, dir)
	defer s.Close()
	totals, err := s.Totals()
	if err != nil || totals.Applied > responsesIn(1, 4500) {
		t.Errorf("%+v, %v", totals, err)
	}
	for n := range 3 {
		if _, err := newUploader(t, s, target).ArchiveOnce(ctx, true); err != nil {
			t.Fatal(err)
		}
		var epochs []uuid.UUID
		if !retired {
			epochs = append(epochs, epoch)
		}
		if err := s.LimitUnreconciled(epochs); err != nil {
			t.Fatal(err)
		}
		if n == 1 { // a new event of the same epoch
			applyBatch(t, s, epoch, time.Now(), 5001)
		}
	}
	count, err := uploader.CountTarget(ctx, target)
	if err != nil || count.Lines != count.Distinct {
		t.Errorf("the archive holds %d lines of %d events, %v", count.Lines, count.Distinct, err)
	}
	wantSettled(t, s)
	return totals.Applied < responsesIn(1, 4500)
}

// archiveInParts creates a store and an archive.
func archiveInParts(t *testing.T, dir string, epoch uuid.UUID, start time.Time) *store.Store {
	t.Helper()
	ctx := t.Context()
	target := directory(t, dir)
	s := openStore(t, dir)
	for batch := range uint64(4) {
		applyBatch(t, s, epoch, start, batch*500+1)
	}
	if _, err := newUploader(t, s, target).ArchiveOnce(ctx, true); err != nil {
		t.Fatal(err)
	}
	for i, p := range plansOf(t, s) {
		if i%2 == 0 && p.State == catalogue.Verified {
			if err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteBlocks(ctx, &p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for batch := uint64(4); batch < 8; batch++ {
		applyBatch(t, s, epoch, start, batch*500+1)
	}
	if _, err := newUploader(t, s, target).ArchiveOnce(ctx, true); err != nil {
		t.Fatal(err)
	}
	applyBatch(t, s, epoch, start, 4001)
	return s
}

func directory(t *testing.T, dir string) uploader.Target {
	t.Helper()
	target, err := uploader.OpenTarget(t.Context(), filepath.Join(dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// wantSettled checks that everything that was applied is archived, and that the store has no problems.
func wantSettled(t *testing.T, s *store.Store) {
	t.Helper()
	now, sum, err := s.Account(t.Context())
	if err != nil || now.Applied != sum || now.Archived != now.Applied || now.Deleted > now.Archived {
		t.Errorf("totals are %+v, rows add up to %d, %v", now, sum, err)
	}
	checks, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		for _, p := range c.Problems {
			t.Errorf("%s: %s", c.Name, p)
		}
	}
}

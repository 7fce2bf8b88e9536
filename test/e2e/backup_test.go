package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

// TestBackup makes backups under load, and starts wayside on each. The copy is in balance, has everything that was recorded before the backup
// began, nothing that was recorded after it had ended, and passes the verification.
func TestBackup(t *testing.T) {
	t.Parallel()
	upstream := origin(t)
	w, _ := newWayside(t, upstream)
	start(t, w)
	send(t, w, 300, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, out := command(t, w, "job", "archive", "--all"); code != 0 {
		t.Fatal(code, out)
	}
	ctx, stop := context.WithCancel(t.Context())
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		_, _ = load.Run(ctx, load.Options{Address: w.Listen, Connections: 4, Requests: 1 << 30, Rate: 1500})
	}()
	for i := range 4 {
		before, err := w.Accounting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "backup")
		if code, out := commandWithin(t, 3*time.Minute, w, "backup", dir); code != 0 || !strings.Contains(out, dir) {
			t.Fatal(code, out)
		}
		after, err := w.Accounting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := startBackup(t, upstream, dir)
		if got.Responses < before.Responses || got.Responses > after.Responses || got.DroppedTotal() != 0 || got.Applied != got.Responses {
			t.Errorf("backup %d has %+v; there were %d responses before it and %d after it", i, got, before.Responses, after.Responses)
		}
		if objects, _ := filepath.Glob(filepath.Join(dir, "archive", "v1", "dt=*", "*", "*.gz")); len(objects) == 0 || got.Archived == 0 {
			t.Errorf("backup %d has %d objects of the archive, %d archived responses", i, len(objects), got.Archived)
		}
		if code, out := commandWithin(t, 3*time.Minute, w, "backup", dir); code != 1 || !strings.Contains(out, "already exists") {
			t.Errorf("into a folder that exists: %d, %s", code, out)
		}
	}
	stop()
	<-loaded
	if code, out := command(t, w, "backup", filepath.Join(w.DataDir, "backup")); code != 1 || !strings.Contains(out, "in the data directory") {
		t.Errorf("into the data directory: %d, %s", code, out)
	}
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Error(err)
	}
}

// startBackup starts wayside on a backup, waits until its books are settled, verifies them, and stops it.
func startBackup(t *testing.T, upstream, dir string) Accounting {
	t.Helper()
	w, log := newWayside(t, upstream)
	w.DataDir = dir
	start(t, w)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := w.AwaitSettled(ctx)
	if err != nil {
		t.Fatal(err, log)
	}
	if code, out := commandWithin(t, 3*time.Minute, w, "verify"); code != 0 {
		t.Errorf("verify: %d, %s", code, out)
	}
	if err := w.Stop(40 * time.Second); err != nil {
		t.Error(err)
	}
	if code, out := command(t, w, "archive", "verify"); code != 0 {
		t.Errorf("archive verify: %d, %s", code, out)
	}
	return a
}

// TestBackupBetweenTheCopies records responses after the copy of the store has begun, and before the copies of the spools begin. The
// backup must have them all.
func TestBackupBetweenTheCopies(t *testing.T) {
	t.Parallel()
	faults, err := Build(t.Context(), t.TempDir(), "-tags", "faults")
	if err != nil {
		t.Fatal(err)
	}
	upstream, waiting := origin(t), filepath.Join(t.TempDir(), "waiting")
	w, log := newWayside(t, upstream)
	// With segments this small, the journal does not keep events that were acknowledged.
	w.Binary, w.Env = faults, []string{"WAYSIDE_FAULT_WAIT=backup.begun:" + waiting, "WAYSIDE_SPOOL_SEGMENT_BYTES=64KiB", "WAYSIDE_SPOOL_SEGMENTS=2"}
	start(t, w)
	send(t, w, 100, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	type result struct {
		code int
		out  string
	}
	ended := make(chan result, 1)
	go func() {
		code, out := commandWithin(t, 3*time.Minute, w, "backup", dir)
		ended <- result{code, out}
	}()
	eventually(t, "the copy of the store has begun", func() bool {
		_, err := os.Lstat(waiting)
		return err == nil
	})
	// If the drain loop were running, it would apply and acknowledge the first of these before the last ones are sent.
	if _, err := load.Run(t.Context(), load.Options{Address: w.Listen, Connections: 4, Rate: 500, Duration: 6 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(waiting); err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.code != 0 {
		t.Fatal(r, log)
	}
	want, err := w.AwaitSettled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := startBackup(t, upstream, dir); got.Responses != want.Responses || got.Recorded != want.Recorded || got.Applied != want.Applied {
		t.Errorf("the backup has %+v, the original %+v", got, want)
	}
}

// TestBackupKilled kills one of the processes at each step of a backup. The folder is then missing, or has another name and is refused.
// Nothing is lost, and the next backup succeeds.
func TestBackupKilled(t *testing.T) {
	t.Parallel()
	faults, err := Build(t.Context(), t.TempDir(), "-tags", "faults")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		point   string
		traffic bool // the traffic process dies, and with it the books process
	}{
		{"backup.begun", true},
		{"backup.spools", true},
		{"backup.copied", true},
		{"backup.rename.before", true},
		{"store.copy.filled", false},
		{"store.copy.after", false},
	} {
		t.Run(c.point, func(t *testing.T) {
			t.Parallel()
			upstream := origin(t)
			w, log := newWayside(t, upstream)
			w.Binary, w.Env = faults, []string{"WAYSIDE_FAULT_CRASH=" + c.point}
			start(t, w)
			send(t, w, 200, 200)
			if _, err := w.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "backup")
			if code, out := commandWithin(t, 3*time.Minute, w, "backup", dir); code != 1 {
				t.Fatal(code, out)
			}
			if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder has its name: %v", err)
			}
			refused := &Wayside{Binary: faults, DataDir: dir + ".incomplete"}
			_, err := os.Lstat(refused.DataDir)
			if c.traffic != (err == nil) {
				t.Errorf("the incomplete folder: %v", err)
			}
			if err == nil {
				if code, out := command(t, refused, "run", "--upstream", upstream, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"); code != 78 || !strings.Contains(out, "not complete") {
					t.Errorf("run on the incomplete folder: %d, %s", code, out)
				}
			}
			if w.Env = nil; c.traffic {
				w.Kill()
			} else if err := w.Stop(40 * time.Second); err != nil {
				t.Error(err)
			}
			start(t, w)
			send(t, w, 100, 200)
			if code, out := commandWithin(t, 3*time.Minute, w, "backup", dir); code != 0 {
				t.Fatal(code, out, log)
			}
			if a := startBackup(t, upstream, dir); a.Applied != 300 {
				t.Errorf("%+v", a)
			}
			if a, err := w.AwaitSettled(t.Context()); err != nil || a.Applied != 300 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRootReadsAStoppedService runs commands as root on the data directory of another user's wayside, which is stopped.
// Commands that read must leave all files to that user, commands that would write must be refused, and the next start
// must find its books unchanged.
func TestRootReadsAStoppedService(t *testing.T) {
	t.Parallel()
	const uid = 12345
	w, log := newWayside(t, origin(t))
	asOtherUser(t, w, uid)
	start(t, w)
	send(t, w, 50, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(40 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.DataDir, "collect.lock")); err != nil { // as in a directory restored from a backup
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{"archive", "ls"}},
		{0, []string{"archive", "verify"}},
		{0, []string{"archive", "rebuild"}},
		{0, []string{"verify"}},
		{78, []string{"job", "report"}},
		{78, []string{"job", "archive"}},
		{78, []string{"job", "clean"}},
		{78, []string{"job", "prune"}},
		{78, []string{"forget", "/a", "--dry-run"}},
		{78, []string{"forget", "/a", "--yes"}},
	} {
		code, output := command(t, w, c.args...)
		if code != c.code || code != 0 && !strings.Contains(output, "sudo -u '#12345' wayside") {
			t.Errorf("%v: %d: %s", c.args, code, output)
		}
		wantAllOf(t, w.DataDir, uid)
	}
	start(t, w)
	send(t, w, 50, 200)
	if a, err := w.AwaitSettled(t.Context()); err != nil || a.Applied != 100 || a.Quarantined != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if text := log.String(); strings.Contains(text, "damaged") || strings.Contains(text, "stopping the books process") {
		t.Error(text)
	}
}

func wantAllOf(t *testing.T, dir string, uid uint32) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != uid {
			t.Errorf("%s belongs to uid %d", name, st.Uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFilesOfAnotherUserAreNotDamage removes the permissions of each file of the store. The store must stay unchanged,
// the log must name the file and its owner, and the books must continue when the permissions are restored.
func TestFilesOfAnotherUserAreNotDamage(t *testing.T) {
	t.Parallel()
	const uid = 12346
	w, log := newWayside(t, origin(t))
	asOtherUser(t, w, uid)
	start(t, w)
	send(t, w, 50, 200)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"store/*.vlog", "store/*.sst", "store/MANIFEST", "store/schema", "store.lock", "store.ledgers", "store"} {
		if err := w.Stop(40 * time.Second); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(w.DataDir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		name := found[0]
		info, err := os.Stat(name)
		if err = errors.Join(err, os.Chown(name, 0, 0), os.Chmod(name, 0o600)); err != nil {
			t.Fatal(err)
		}
		before := len(log.String())
		start(t, w)
		send(t, w, 5, 200)
		eventually(t, pattern+": the log has the reason", func() bool {
			output := log.String()[before:]
			return strings.Contains(output, name) && strings.Contains(output, "permission denied")
		})
		if _, err := os.Stat(filepath.Join(w.DataDir, "quarantine")); err == nil {
			t.Fatalf("%s: the store was set aside: %s", pattern, log.String()[before:])
		}
		if err := errors.Join(os.Chown(name, uid, uid), os.Chmod(name, info.Mode().Perm())); err != nil {
			t.Fatal(err)
		}
		if a, err := w.AwaitSettled(t.Context()); err != nil || a.Quarantined != 0 {
			t.Errorf("%s: %+v, %v", pattern, a, err)
		}
	}
	if strings.Contains(log.String(), "damaged") {
		t.Error(log.String())
	}
}

// TestSpoolOfAnotherUserIsNotDamage does the same as TestFilesOfAnotherUserAreNotDamage, with the files in a dead process's spool.
func TestSpoolOfAnotherUserIsNotDamage(t *testing.T) {
	t.Parallel()
	const uid = 12348
	w, log := newWayside(t, origin(t), "--no-collector")
	asOtherUser(t, w, uid)
	for _, pattern := range []string{"journal-*.seg", "queue*.db", "ledger"} {
		start(t, w)
		send(t, w, 50, 200)
		folder := filepath.Join(w.DataDir, "spool", w.Info().Epoch)
		w.Kill()
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range found {
			if err := errors.Join(os.Chown(name, 0, 0), os.Chmod(name, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	start(t, w)
	eventually(t, "the log has the reason", func() bool {
		output := log.String()
		return strings.Count(output, "cannot take over a spool folder yet") == 1+2+3 && strings.Contains(output, "permission denied; chown -R 12348")
	})
	if err := w.Stop(40 * time.Second); err != nil {
		t.Fatal(err)
	}
	if aside, _ := filepath.Glob(filepath.Join(w.DataDir, "quarantine", "*")); len(aside) > 0 || strings.Contains(log.String(), "lost events to damage") {
		t.Errorf("%q: %s", aside, log)
	}
	if err := filepath.WalkDir(filepath.Join(w.DataDir, "spool"), func(name string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, uid, uid))
	}); err != nil {
		t.Fatal(err)
	}
	w.Args = w.Args[:len(w.Args)-1] // now with a books process
	start(t, w)
	if a, err := w.AwaitSettled(t.Context()); err != nil || a.Applied != 150 || a.DroppedTotal() != 0 || a.Quarantined != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

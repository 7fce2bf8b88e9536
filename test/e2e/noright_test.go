package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDataDirectoryThatMayNotBeMade: where run may not even make its data directory, it says how to make it, starts no books process that
// could not open it either, and nowhere claims that anything waits or is in place; once the directory is there, the books begin.
func TestDataDirectoryThatMayNotBeMade(t *testing.T) {
	t.Parallel()
	const uid = 12347
	w, log := newWayside(t, origin(t))
	asStranger(t, w, uid)
	above := filepath.Join(filepath.Dir(w.DataDir), "lib")
	if err := os.Mkdir(above, 0o755); err != nil { //nolint:gosec // the stranger looks in
		t.Fatal(err)
	}
	w.DataDir = filepath.Join(above, "wayside")
	admin := startBlind(t, w, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	})
	send(t, w, 5, 200)
	eventually(t, "the log counts what is dropped", func() bool { return strings.Contains(log.String(), "responses are dropped from the books") })
	_, ready := get(t, "http://"+admin+"/readyz?verbose")
	_, accounting := get(t, "http://"+admin+"/api/v1/accounting")
	status, paths := get(t, "http://"+admin+"/api/v1/paths")
	if status != http.StatusServiceUnavailable {
		t.Error(status)
	}
	for what, said := range map[string]string{"readyz": ready, "accounting": accounting, "paths": paths, "log": log.String()} {
		if strings.Contains(said, "waits in the spool") || strings.Contains(said, "in place") || strings.Contains(said, "books process ended") {
			t.Errorf("%s: %s", what, said)
		}
		if !strings.Contains(said, "counted as dropped") {
			t.Errorf("%s does not say that responses are dropped: %s", what, said)
		}
	}
	for _, want := range []string{"does not exist", "create it: install -d -o 12347 -m 0750 " + w.DataDir} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if strings.Contains(log.String(), "chown 12347") || strings.Contains(log.String(), "books process started") {
		t.Error(log.String())
	}
	if out, err := exec.Command("install", "-d", "-o", "12347", "-m", "0750", w.DataDir).CombinedOutput(); err != nil { //nolint:gosec // what the log says
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the books begin", func() bool {
		a := accountingAt(t, admin)
		return a.Settled && a.Dropped["unavailable"] >= 5 && strings.Contains(log.String(), "books process started")
	})
	eventually(t, "the files are in place", func() bool {
		_, ready := get(t, "http://"+admin+"/readyz?verbose")
		return strings.Contains(ready, "[+] files: in place") && strings.Contains(ready, "[+] books: connected")
	})
}

// TestDirectoryOfOtherThings: the first start in a directory that holds other things says so, once; wayside's own are none.
func TestDirectoryOfOtherThings(t *testing.T) {
	t.Parallel()
	const warning = "not empty, and not made by wayside"
	for name, foreign := range map[string]bool{"photo.jpg": true, "archive": false, "lost+found": false} {
		w, log := newWayside(t, origin(t))
		if err := os.MkdirAll(filepath.Join(w.DataDir, name), 0o750); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 0} {
			before := len(log.String())
			start(t, w)
			if err := w.Stop(ReadyTimeout); err != nil {
				t.Fatal(err)
			}
			if !foreign {
				want = 0
			}
			if said := log.String()[before:]; strings.Count(said, warning) != want {
				t.Errorf("%s: want the warning %d times: %s", name, want, said)
			}
		}
	}
}

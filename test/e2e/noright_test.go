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

// TestNoPermissionToCreateTheDataDirectory runs wayside as a user who may not create the data directory. The log must
// say how to create it. wayside must not start a books process, and must not claim that events are waiting or that
// files are in place. When the directory exists, the books begin.
func TestNoPermissionToCreateTheDataDirectory(t *testing.T) {
	t.Parallel()
	const uid = 12347
	w, log := newWayside(t, origin(t))
	asOtherUser(t, w, uid)
	above := filepath.Join(filepath.Dir(w.DataDir), "lib")
	if err := os.Mkdir(above, 0o755); err != nil {
		t.Fatal(err)
	}
	w.DataDir = filepath.Join(above, "wayside")
	admin := startUnwritable(t, w, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	})
	send(t, w, 5, 200)
	eventually(t, "the log has the number of dropped responses", func() bool { return strings.Contains(log.String(), "responses are being dropped from the books") })
	_, ready := get(t, "http://"+admin+"/readyz?verbose")
	_, accounting := get(t, "http://"+admin+"/api/v1/accounting")
	status, paths := get(t, "http://"+admin+"/api/v1/paths")
	if status != http.StatusServiceUnavailable {
		t.Error(status)
	}
	for where, output := range map[string]string{"readyz": ready, "accounting": accounting, "paths": paths, "log": log.String()} {
		if strings.Contains(output, "wait in the spool") || strings.Contains(output, "in place") || strings.Contains(output, "books process ended") {
			t.Errorf("%s: %s", where, output)
		}
		if !strings.Contains(output, "counted as dropped") {
			t.Errorf("%s does not report that responses are dropped: %s", where, output)
		}
	}
	for _, want := range []string{"does not exist", "create it: install -d -o 12347 -m 0750 " + w.DataDir} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not contain %q", want)
		}
	}
	if strings.Contains(log.String(), "chown 12347") || strings.Contains(log.String(), "books process started") {
		t.Error(log.String())
	}
	if out, err := exec.Command("install", "-d", "-o", "12347", "-m", "0750", w.DataDir).CombinedOutput(); err != nil {
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

// TestDirectoryWithOtherFiles starts wayside in a directory with other files. The first start, and only the first, must
// warn about them. wayside's own files cause no warning.
func TestDirectoryWithOtherFiles(t *testing.T) {
	t.Parallel()
	const warning = "not empty and was not made by wayside"
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
			if output := log.String()[before:]; strings.Count(output, warning) != want {
				t.Errorf("%s: want the warning %d times: %s", name, want, output)
			}
		}
	}
}

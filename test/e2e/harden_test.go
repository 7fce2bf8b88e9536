package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asOtherUser makes w run as another user, with a directory and a binary that this user can access.
func asOtherUser(t *testing.T, w *Wayside, uid uint32) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, running wayside as another user needs root")
	}
	dir, err := os.MkdirTemp("", "wayside-owner-") //nolint:usetesting // other users cannot access the folder of a test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = w.Stop(40*time.Second), os.RemoveAll(dir) })
	binary, err := CopyBinary(w.Binary, dir)
	if err = errors.Join(err, os.Chown(dir, int(uid), int(uid))); err != nil {
		t.Fatal(err)
	}
	w.Binary, w.UID, w.DataDir = binary, uid, filepath.Join(dir, "data")
}

// TestHardened checks that other processes of the same user cannot inspect either process, that neither process can gain
// privileges, and that the books process gets only the descriptors and variables that it needs from its parent.
func TestHardened(t *testing.T) {
	t.Parallel()
	const uid = 65532
	w, _ := newWayside(t, origin(t))
	asOtherUser(t, w, uid)
	open := filepath.Join(filepath.Dir(w.DataDir), "open")
	wrapper := filepath.Join(filepath.Dir(w.DataDir), "wrapper")
	text := fmt.Sprintf("#!/bin/sh\nexec 9<%s\nexec %s \"$@\"\n", open, w.Binary)
	if err := errors.Join(os.WriteFile(open, nil, 0o644), WriteExecutable(wrapper, []byte(text))); err != nil {
		t.Fatal(err)
	}
	w.Binary = wrapper
	w.Env = []string{"AWS_REGION=here", "SESSION_SECRET=of-somebody", "WAYSIDE_SERVICE=of-wayside"}
	start(t, w)
	send(t, w, 10, 200)
	if a, err := w.AwaitSettled(t.Context()); err != nil || a.Applied != 10 {
		t.Fatalf("%+v, %v", a, err)
	}
	for name, pid := range map[string]int{"run": w.PID(), "collect": w.BooksPID()} {
		cat := exec.Command("/bin/cat", fmt.Sprintf("/proc/%d/environ", pid))
		cat.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cat.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
			t.Errorf("%s: another process can read its environment: %v", name, err)
		}
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(tasks) == 0 {
			t.Fatal(tasks, err)
		}
		for _, task := range tasks {
			status, err := os.ReadFile(task)
			if err == nil && !raceEnabled && !strings.Contains(string(status), "NoNewPrivs:\t1") { // with cgo, not all threads have this flag
				t.Errorf("%s: %s can gain privileges", name, task)
			}
		}
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.BooksPID()))
	if err != nil || strings.Contains(string(environ), "of-") || !strings.Contains(string(environ), "AWS_REGION=here") {
		t.Errorf("the books process has the environment %q, %v", environ, err)
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.BooksPID()))
	if err != nil || len(fds) == 0 {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); to == open {
			t.Errorf("the books process has %s open", to)
		}
	}
	if n := metric(t, w, "process_open_fds"); n <= 0 {
		t.Error("the process collector cannot read the process")
	}
}

// TestUnsafeDataDirectory checks that wayside refuses a data directory in which others could have planted files, and
// does not change the target of a planted link.
func TestUnsafeDataDirectory(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(dir, victim string) error{
		"lock is a link":      func(dir, victim string) error { return os.Symlink(victim, filepath.Join(dir, "lock")) },
		"spool is a link":     func(dir, victim string) error { return os.Symlink(filepath.Dir(victim), filepath.Join(dir, "spool")) },
		"writable for others": func(dir, _ string) error { return os.Chmod(dir, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newWayside(t, "http://127.0.0.1:1")
			victim := filepath.Join(t.TempDir(), "victim")
			if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Mkdir(w.DataDir, 0o750), plant(w.DataDir, victim)); err != nil {
				t.Fatal(err)
			}
			code, output := command(t, w, "run", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
			if code != 78 || !strings.Contains(output, w.DataDir) || !strings.Contains(output, "set --data") {
				t.Errorf("exit %d: %s", code, output)
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
				t.Errorf("the victim: %q, %v", text, err)
			}
		})
	}
}

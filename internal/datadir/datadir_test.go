package datadir

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSecondOwnerIsRefusedByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	first, err := Acquire(dir, RunLock)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(dir, RunLock)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second owner: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire(dir, RunLock)
	if err != nil {
		t.Errorf("after release: %v", err)
	}
	_ = again.Release()
}

func TestPermissionErrorSaysWhatToDo(t *testing.T) {
	err := explain("/data", os.ErrPermission)
	for _, want := range []string{"/data", "uid " + strconv.Itoa(os.Getuid()), "--data"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// On a read-only filesystem, changing the owner would not help.
func TestReadOnlyFilesystemIsNamed(t *testing.T) {
	err := explain("/data", &os.PathError{Op: "open", Path: "/data/lock", Err: syscall.EROFS})
	if !strings.Contains(err.Error(), "/data is on a read-only filesystem") || strings.Contains(err.Error(), "chown") {
		t.Error(err)
	}
}

func TestInfo(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("empty directory: %v", err)
	}
	lock, err := Acquire(dir, RunLock)
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Format: InfoFormat, PID: os.Getpid(), Started: time.Unix(1_790_000_000, 0).UTC(), Listen: "127.0.0.1:1", Admin: "http://127.0.0.1:2"}
	if err := WriteInfo(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadInfo(dir); err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
	name := filepath.Join(dir, RunFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(text, []byte(`"format": 1`), []byte(`"format": 2`), 1)
	if err := os.WriteFile(name, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInfo(dir); err == nil || !strings.Contains(err.Error(), "in format 2, but this version supports only format 1") {
		t.Errorf("run.json of a newer wayside: %v", err)
	}
	if err := WriteInfo(dir, want); err != nil {
		t.Fatal(err)
	}
	RemoveInfo(dir)
	if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after removal: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestStaleInfo: a run.json of a wayside that has ended is never mistaken for that of a running one, neither if another
// process has its process ID now, nor after a power cut damaged the file.
func TestStaleInfo(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil { // has certainly ended and been waited for
		t.Fatal(err)
	}
	write := func(pid int) func(dir string) error {
		return func(dir string) error { return WriteInfo(dir, Info{PID: pid, Admin: "http://127.0.0.1:2"}) }
	}
	for name, leave := range map[string]func(dir string) error{
		"ended process":            write(cmd.Process.Pid),
		"number of a live process": write(os.Getpid()),
		"number of the first one":  write(1),
		"empty":                    func(dir string) error { return os.WriteFile(filepath.Join(dir, RunFile), nil, 0o600) },
		"cut off":                  func(dir string) error { return os.WriteFile(filepath.Join(dir, RunFile), []byte(`{"pid": 1`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := leave(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
				t.Errorf("without a lock: %v", err)
			}
			lock, err := Acquire(dir, RunLock)
			if err != nil {
				t.Fatal(err)
			}
			if err := lock.Release(); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
				t.Errorf("with a lock that nobody holds: %v", err)
			}
		})
	}
	dir := t.TempDir()
	if err := write(1)(dir); err != nil {
		t.Fatal(err)
	}
	lock, err := Acquire(dir, RunLock) // as a command that works on the files does
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with the lock of another process than the one it names: %v", err)
	}
	_ = lock.Release()
}

// TestReadInfoDoesNotBlock: a process can take the lock while ReadInfo reads its state.
func TestReadInfoDoesNotBlock(t *testing.T) {
	dir := t.TempDir()
	lock, err := Acquire(dir, RunLock)
	if err != nil {
		t.Fatal(err)
	}
	_ = lock.Release()
	look, err := os.Open(filepath.Join(dir, RunLock))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(look.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	pause = func(time.Duration) { _ = look.Close() }
	defer func() { pause = time.Sleep }()
	if lock, err = Acquire(dir, RunLock); err != nil {
		t.Error(err)
	}
	_ = lock.Release()
}

func TestKnown(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("hi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Known(dir); !errors.Is(err, ErrNoData) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory of somebody else: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d entries in it now, %v", len(entries), err)
	}
	if err := Known(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	lock, err := Acquire(dir, RunLock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	if err := Known(dir); err != nil {
		t.Error(err)
	}
}

// TestCopiesOfDeadVerifications: the next process that takes the lock removes the copies, and nothing else.
func TestCopiesOfDeadVerifications(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "da[t]a*")
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	lock, err := Acquire(dir, RunLock)
	if err != nil {
		t.Fatal(err)
	}
	at, err := VerifyCopy(dir)
	if err == nil {
		err = os.MkdirAll(filepath.Join(at, "store", "x"), 0o750)
	}
	kept, held, err2 := ServeCopy(dir)
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	books, err := Acquire(dir, CollectLock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = books.Release() }()
	if _, err := os.Stat(at); err != nil {
		t.Errorf("a copy in use: %v", err)
	}
	_ = lock.Release()
	if lock, err = Acquire(dir, RunLock); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy of a dead verification: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

// TestCopiesOfDeadCommands: a copy stays as long as the command that made it is alive. After that, the next process
// that takes the lock of the books removes it.
func TestCopiesOfDeadCommands(t *testing.T) {
	dir := t.TempDir()
	at, held, err := ServeCopy(dir)
	if err == nil {
		err = os.MkdirAll(filepath.Join(at, "store"), 0o750)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, inUse := range []bool{true, false} {
		if !inUse {
			_ = held.Close() // as a kill would
		}
		books, err := Acquire(dir, CollectLock)
		if err != nil {
			t.Fatal(err)
		}
		_ = books.Release()
		if _, err := os.Stat(at); (err == nil) != inUse {
			t.Errorf("in use %v: %v", inUse, err)
		}
	}
}

package datadir

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

func TestInfo(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("empty directory: %v", err)
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
	if _, err := ReadInfo(dir); err == nil || !strings.Contains(err.Error(), "in format 2, this version knows 1") {
		t.Errorf("run.json of a newer wayside: %v", err)
	}
	// A process that has certainly ended and been waited for.
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	want.PID = cmd.Process.Pid
	if err := WriteInfo(dir, want); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("run.json of an ended process: %v", err)
	}
	RemoveInfo(dir)
	if _, err := ReadInfo(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after removal: %v", err)
	}
}

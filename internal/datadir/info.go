package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/disk"
)

// ErrNotRunning is returned by ReadInfo if no `wayside run` is using the directory.
var ErrNotRunning = errors.New("no wayside run is using this data directory")

// InfoFormat is the version of run.json. It increases when a field changes its meaning.
const InfoFormat = 1

// Info is the content of run.json: how to find a running wayside.
type Info struct {
	Format   int       `json:"format"` // [InfoFormat]; written by WriteInfo
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Listen   string    `json:"listen"`   // address in use, host:port
	Admin    string    `json:"admin"`    // URL
	Upstream string    `json:"upstream"` // URL
	Archive  string    `json:"archive"`  // URL without credentials
	Epoch    string    `json:"epoch"`    // epoch of its spool
}

// WriteInfo replaces run.json atomically, so a reader sees either the old file or the new one, even after a power cut. The caller holds
// [RunLock].
func WriteInfo(dir string, info Info) error {
	info.Format = InfoFormat
	return writeJSON(dir, RunFile, info, 0o640) // the group may read it, as it may read the directory
}

func writeJSON(dir, base string, v any, mode os.FileMode) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		name := filepath.Join(dir, base)
		err = disk.WriteFile(name, name+".new", bytes.NewReader(append(body, '\n')), mode)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", base, err)
	}
	return nil
}

// RemoveInfo removes run.json at the end of a run.
func RemoveInfo(dir string) { _ = os.Remove(filepath.Join(dir, RunFile)) }

// ReadInfo finds the wayside that uses dir. The error wraps ErrNotRunning if there is none. After a kill or a power cut, there can be a
// run.json with any content, so ReadInfo relies on the lock.
func ReadInfo(dir string) (Info, error) {
	name := filepath.Join(dir, RunFile)
	body, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return Info{}, fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	if err != nil {
		return Info{}, fmt.Errorf("read %s: %w", RunFile, err)
	}
	state, pid := stateOfLock(dir)
	if state == lockFree {
		return Info{}, fmt.Errorf("%w: %s was left by a process that has ended", ErrNotRunning, name)
	}
	var info Info
	if err := json.Unmarshal(body, &info); err != nil {
		return Info{}, fmt.Errorf("read %s: %w", name, err)
	}
	if state == lockHeld && pid > 0 && info.PID > 0 && pid != info.PID {
		return Info{}, fmt.Errorf("%w: %s names process %d, but process %d has locked the directory", ErrNotRunning, name, info.PID, pid)
	}
	if state == lockUnknown && info.PID > 0 && errors.Is(syscall.Kill(info.PID, 0), syscall.ESRCH) {
		return Info{}, fmt.Errorf("%w: %s names process %d, which has ended", ErrNotRunning, name, info.PID)
	}
	if info.Format > InfoFormat {
		return Info{}, fmt.Errorf("%s was written by wayside %s in format %d, but this version supports only format %d: use the version that runs there, or name it with --admin",
			name, info.Version, info.Format, InfoFormat)
	}
	return info, nil
}

// Package datadir owns what identifies a data directory in use: its lock and run.json.
//
// A data directory belongs to at most one traffic process (lock) and one books process (collect.lock) at a time. The
// locks are flock(2) locks: the kernel releases them when the process ends, however it ends.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names in a data directory.
const (
	RunLock     = "lock"
	CollectLock = "collect.lock"
	RunFile     = "run.json"
	SpoolDir    = "spool"
	StoreDir    = "store"
	ArchiveDir  = "archive"
	Quarantine  = "quarantine"
	CrashFile   = "collect.crash"
)

// ErrInUse is returned when another process holds the lock; the message names it.
var ErrInUse = errors.New("data directory is in use")

// ErrNotRunning is returned by ReadInfo when no wayside run owns the directory.
var ErrNotRunning = errors.New("no wayside run is using this data directory")

// Lock is a held lock.
type Lock struct{ file *os.File }

// Create makes the directory if it is missing. A permission error names the directory, the uid and what to set.
func Create(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return explain(dir, err)
	}
	return nil
}

func explain(dir string, err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("data directory %s is not writable for uid %d: %w; make it writable (chown %d %s) or set --data to another one",
			dir, os.Getuid(), err, os.Getuid(), dir)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("data directory %s: %w; --data names a directory, which is made if it is missing", dir, err)
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}

// Acquire takes the lock called name (RunLock or CollectLock) without waiting. The error wraps ErrInUse if another process
// holds it, and names that process as far as it is known.
func Acquire(dir, name string) (*Lock, error) {
	path := filepath.Join(dir, name)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640) //nolint:gosec // the operator's own data directory
	if err != nil {
		return nil, explain(dir, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = file.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by %s", ErrInUse, path, holder(file))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The name of the holder is for people: failing to write it (a full disk) does not matter.
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(fmt.Sprintf("pid %d (%s) since %s\n", os.Getpid(), strings.Join(os.Args[:min(len(os.Args), 2)], " "),
		time.Now().UTC().Format(time.RFC3339))), 0)
	return &Lock{file: file}, nil
}

func holder(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 256))
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		return name
	}
	return "another process"
}

// Release gives the lock back. The file stays: removing it would let two processes lock two files of one name.
func (l *Lock) Release() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}

// InfoFormat is the version of run.json. It grows when a field changes its meaning.
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
	Epoch    string    `json:"epoch"`    // of the present spool
}

// WriteInfo replaces run.json in one step, so that a reader sees the old or the new one.
func WriteInfo(dir string, info Info) error {
	info.Format = InfoFormat
	body, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	aside := filepath.Join(dir, RunFile+".new")
	if err := os.WriteFile(aside, append(body, '\n'), 0o640); err != nil { //nolint:gosec // group may read, as the directory
		return fmt.Errorf("write %s: %w", RunFile, err)
	}
	if err := os.Rename(aside, filepath.Join(dir, RunFile)); err != nil {
		return fmt.Errorf("write %s: %w", RunFile, err)
	}
	return nil
}

// RemoveInfo takes run.json away at the end of a run.
func RemoveInfo(dir string) { _ = os.Remove(filepath.Join(dir, RunFile)) }

// ReadInfo finds the wayside that is using dir. The error wraps ErrNotRunning if there is none, which a stale run.json
// (left by a killed process) does not hide: the lock decides.
func ReadInfo(dir string) (Info, error) {
	body, err := os.ReadFile(filepath.Join(dir, RunFile)) //nolint:gosec // the operator's own data directory
	if errors.Is(err, os.ErrNotExist) {
		return Info{}, fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	if err != nil {
		return Info{}, fmt.Errorf("read %s: %w", RunFile, err)
	}
	var info Info
	if err := json.Unmarshal(body, &info); err != nil {
		return Info{}, fmt.Errorf("read %s: %w", filepath.Join(dir, RunFile), err)
	}
	if info.PID > 0 && errors.Is(syscall.Kill(info.PID, 0), syscall.ESRCH) {
		return Info{}, fmt.Errorf("%w: %s names process %d, which has ended", ErrNotRunning, filepath.Join(dir, RunFile), info.PID)
	}
	if info.Format > InfoFormat {
		return Info{}, fmt.Errorf("%s was written by wayside %s in format %d, this version knows %d: use the version that runs there, or name it with --admin",
			filepath.Join(dir, RunFile), info.Version, info.Format, InfoFormat)
	}
	return info, nil
}

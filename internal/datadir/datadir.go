// Package datadir owns what identifies a data directory in use: its lock and run.json.
//
// A data directory belongs to at most one traffic process (lock) and one books process (collect.lock) at a time. The
// locks are flock(2) locks: the kernel releases them when the process ends, however it ends.
package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/disk"
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

// verifyCopies is the pattern of what [VerifyCopy] makes.
const verifyCopies = ".verify-*"

// serveCopies is the pattern of what [ServeCopy] makes.
const serveCopies = ".serve-*"

// ErrNoData is returned by Known for a directory that no wayside has used.
var ErrNoData = errors.New("no wayside data here")

// Known reports with an error that wraps [ErrNoData] that dir has nothing by which a data directory is known. It creates nothing.
func Known(dir string) error {
	if err := Exists(dir); err != nil {
		return err
	}
	for _, name := range []string{RunLock, CollectLock, SpoolDir, StoreDir, StoreDir + ".lock"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %s; name a data directory with --data", ErrNoData, dir)
}

// Exists reports with an error, which says what to do, that dir is missing or cannot be looked at. It creates nothing.
func Exists(dir string) error {
	_, err := os.Stat(dir)
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err // the message names dir as it was given
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data directory %s does not exist; name it with --data DIR: %w", dir, err)
	}
	if err != nil {
		return fmt.Errorf("data directory %s cannot be looked at: %w", dir, err)
	}
	return nil
}

// Foreign names something in dir that is not wayside's, where nothing is: "" if there is none, or no such directory.
func Foreign(dir string) string {
	if !errors.Is(Known(dir), ErrNoData) {
		return ""
	}
	entries, _ := os.ReadDir(dir) // whoever opens something in it says what is wrong
	for _, e := range entries {
		if depthOf(e.Name()) < 0 && e.Name() != ConfigFile && e.Name() != "lost+found" {
			return e.Name()
		}
	}
	return ""
}

// VerifyCopy makes a folder in which a verification copies what it must open. The caller holds [RunLock], and removes the folder; if
// it dies before, whoever takes RunLock next does.
func VerifyCopy(dir string) (string, error) { return os.MkdirTemp(dir, verifyCopies) }

func removeVerifyCopies(dir string) {
	names, _ := filepath.Glob(filepath.Join(GlobEscape(dir), verifyCopies))
	for _, name := range names {
		_ = os.RemoveAll(name) // the next one tries again
	}
}

// ServeCopy makes a folder in which a command that reads keeps a copy of the store, and holds it until the file that is returned is closed.
// The caller holds [CollectLock] meanwhile, if it may, and removes the folder; if it dies before, whoever takes CollectLock next does.
func ServeCopy(dir string) (at string, held *os.File, err error) {
	if at, err = os.MkdirTemp(dir, serveCopies); err != nil {
		return "", nil, err
	}
	if held, err = hold(at); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(at))
	}
	return at, held, nil
}

// hold locks a folder until the file is closed, or fails if somebody has it.
func hold(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, RunLock), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func removeServeCopies(dir string) {
	names, _ := filepath.Glob(filepath.Join(GlobEscape(dir), serveCopies))
	for _, name := range names {
		if f, err := hold(name); err == nil { // nobody uses it
			_, _ = os.RemoveAll(name), f.Close() // the next one tries again
		}
	}
}

// GlobEscape makes a pattern for [filepath.Glob] that matches this name only.
func GlobEscape(name string) string { return globEscape.Replace(name) }

var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// ErrInUse is returned when another process holds the lock; the message names it.
var ErrInUse = errors.New("data directory is in use")

// ErrNotRunning is returned by ReadInfo when no wayside run owns the directory.
var ErrNotRunning = errors.New("no wayside run is using this data directory")

// Lock is a held lock.
type Lock struct{ file *os.File }

// Create makes the directory if it is missing. A permission error names the directory, the uid and what to set. The error wraps
// [ErrUnsafe] for a directory in which another user can plant files, or has.
func Create(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return explain(dir, err)
	}
	if err := checkOwner(dir); err != nil {
		return err
	}
	return checkEntries(dir)
}

func explain(dir string, err error) error {
	if _, missing := os.Stat(dir); errors.Is(err, os.ErrPermission) && errors.Is(missing, os.ErrNotExist) {
		return fmt.Errorf("data directory %s does not exist, and uid %d may not make it: %w; create it: install -d -o %d -m 0750 %s (as root), or set --data to another one",
			dir, os.Getuid(), err, os.Getuid(), dir)
	}
	if errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("data directory %s is on a read-only filesystem: %w; mount it writable (in a container: a volume), or set --data to another one", dir, err)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("data directory %s is not writable for uid %d: %w; make it writable (chown %d %s) or set --data to another one",
			dir, os.Getuid(), err, os.Getuid(), dir)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("data directory %s: %w; --data names a directory, which is made if it is missing", dir, err)
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}

// Acquire takes the lock called name (RunLock or CollectLock) without waiting. The error wraps ErrInUse if another process
// holds it, and names that process as far as it is known; it wraps [ErrUnsafe] if what wayside would open is a link.
func Acquire(dir, name string) (*Lock, error) {
	path := filepath.Join(dir, name)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o640)
	if errors.Is(err, syscall.ELOOP) {
		return nil, errors.Join(checkEntries(dir), err)
	}
	if err != nil {
		return nil, explain(dir, err)
	}
	if err := take(file, name); err != nil {
		defer func() { _ = file.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by %s", ErrInUse, path, holder(file))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := checkEntries(dir); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	nameHolder(dir, file)
	switch name {
	case RunLock:
		removeVerifyCopies(dir)
	case CollectLock:
		removeServeCopies(dir)
	}
	return &Lock{file: file}, nil
}

// handOver gives a lock file that root has just made to the directory's owner, who is to open it later.
func handOver(dir string, file *os.File) {
	info, err := file.Stat()
	if to := owner(os.Stat(dir)); err == nil && info.Size() == 0 && owner(info, nil) == 0 && to > 0 {
		_ = file.Chown(to, -1) // a file server may refuse it
	}
}

// nameHolder writes who has the lock, for people: failing to write it (a full disk) does not matter. A file that has another name as well
// may be somebody's: it is locked, and stays as it is.
func nameHolder(dir string, file *os.File) {
	info, err := file.Stat()
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		return
	}
	handOver(dir, file)
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(fmt.Sprintf("pid %d (%s) since %s\n", os.Getpid(), strings.Join(os.Args[:min(len(os.Args), 2)], " "),
		time.Now().UTC().Format(time.RFC3339))), 0)
}

// A command that only looks whether RunLock is held has it for a moment, see [ReadInfo], which must stop nobody.
const (
	lockTries = 20
	lockPause = 5 * time.Millisecond
)

var pause = time.Sleep // a test lets go of the lock meanwhile

func take(file *os.File, name string) (err error) {
	for range lockTries {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if name != RunLock || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		pause(lockPause)
	}
	return err
}

func holder(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 256))
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		return name
	}
	return "another process"
}

// InPlace reports whether the lock's file still has its name: if not, another process can lock the directory as well.
func (l *Lock) InPlace() bool {
	open, err := l.file.Stat()
	named, err2 := os.Lstat(l.file.Name())
	return err == nil && err2 == nil && os.SameFile(open, named)
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

// WriteInfo replaces run.json in one step, so that a reader sees the old or the new one, also after a power cut. The caller holds
// [RunLock].
func WriteInfo(dir string, info Info) error {
	info.Format = InfoFormat
	return writeJSON(dir, RunFile, info, 0o640) // the group may read it, as the directory
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

// RemoveInfo takes run.json away at the end of a run.
func RemoveInfo(dir string) { _ = os.Remove(filepath.Join(dir, RunFile)) }

// ReadInfo finds the wayside that is using dir. The error wraps ErrNotRunning if there is none, which a stale run.json
// (left by a killed process or a power cut, whatever it says) does not hide: the lock decides.
func ReadInfo(dir string) (Info, error) {
	name := filepath.Join(dir, RunFile)
	body, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return Info{}, fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	if err != nil {
		return Info{}, fmt.Errorf("read %s: %w", RunFile, err)
	}
	state, pid := lookAtLock(dir)
	if state == lockFree {
		return Info{}, fmt.Errorf("%w: %s was left by a process that has ended", ErrNotRunning, name)
	}
	var info Info
	if err := json.Unmarshal(body, &info); err != nil {
		return Info{}, fmt.Errorf("read %s: %w", name, err)
	}
	if state == lockHeld && pid > 0 && info.PID > 0 && pid != info.PID {
		return Info{}, fmt.Errorf("%w: %s names process %d, and process %d has the directory", ErrNotRunning, name, info.PID, pid)
	}
	if state == lockUnknown && info.PID > 0 && errors.Is(syscall.Kill(info.PID, 0), syscall.ESRCH) {
		return Info{}, fmt.Errorf("%w: %s names process %d, which has ended", ErrNotRunning, name, info.PID)
	}
	if info.Format > InfoFormat {
		return Info{}, fmt.Errorf("%s was written by wayside %s in format %d, this version knows %d: use the version that runs there, or name it with --admin",
			name, info.Version, info.Format, InfoFormat)
	}
	return info, nil
}

type lockState int

const (
	lockUnknown lockState = iota // it cannot be looked at
	lockFree
	lockHeld
)

// lookAtLock reports whether somebody holds [RunLock], and who as far as is known, else 0. A free lock is shared for a moment.
func lookAtLock(dir string) (state lockState, pid int) {
	file, err := os.Open(filepath.Join(dir, RunLock))
	if errors.Is(err, os.ErrNotExist) {
		return lockFree, 0
	}
	if err != nil {
		return lockUnknown, 0
	}
	defer func() { _ = file.Close() }() // releases it
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	switch {
	case err == nil:
		return lockFree, 0
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return lockUnknown, 0
	}
	_, _ = fmt.Sscanf(holder(file), "pid %d ", &pid)
	return lockHeld, pid
}

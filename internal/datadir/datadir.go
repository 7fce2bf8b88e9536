// Package datadir handles the data directory: the names in it, which process uses it (lock.go, info.go), whether it is safe to use
// (safe.go), and the configuration of the last run (lastconfig.go).
//
// At most one traffic process (lock) and one books process (collect.lock) use a data directory at a time. The locks are flock(2) locks:
// the kernel releases them when the process ends, however it ends.
package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	StickyKey   = "sticky.key"
	ACME        = "acme"
)

// ErrNoData is returned by Known for a directory that has not been used by wayside.
var ErrNoData = errors.New("no wayside data here")

// Known returns an error that wraps [ErrNoData] if dir contains none of the files of a data directory. It creates
// nothing.
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

// missingError names a data directory that does not exist. It wraps [os.ErrNotExist], whose text would only repeat this.
type missingError string

func (dir missingError) Error() string {
	return "data directory " + string(dir) + " does not exist; name it with --data DIR"
}
func (missingError) Unwrap() error { return os.ErrNotExist }

// Exists returns an error that says what to do if dir does not exist, cannot be read, or is an incomplete backup. It creates nothing.
func Exists(dir string) error {
	_, err := os.Stat(dir)
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err // the message already names dir
	}
	if errors.Is(err, os.ErrNotExist) {
		return missingError(dir)
	}
	if err != nil {
		return fmt.Errorf("data directory %s cannot be read: %w", dir, err)
	}
	return refuseIncomplete(dir)
}

// Foreign returns the name of an entry in dir that does not belong to wayside. It returns "" if there is no such entry, or if dir is
// already a data directory.
func Foreign(dir string) string {
	if !errors.Is(Known(dir), ErrNoData) {
		return ""
	}
	entries, _ := os.ReadDir(dir) // an error is reported when something in dir is opened
	for _, e := range entries {
		if depthOf(e.Name()) < 0 && e.Name() != ConfigFile && e.Name() != "lost+found" {
			return e.Name()
		}
	}
	return ""
}

// Create creates the directory if it does not exist. An error about permissions names the directory and the uid and says what to do. The
// error wraps [ErrUnsafe] if another user can put files into the directory, or has already done so.
func Create(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return explain(dir, err)
	}
	if err := refuseIncomplete(dir); err != nil {
		return err
	}
	if err := checkOwner(dir); err != nil {
		return err
	}
	return checkEntries(dir)
}

func explain(dir string, err error) error {
	if _, missing := os.Stat(dir); errors.Is(err, os.ErrPermission) && errors.Is(missing, os.ErrNotExist) {
		return fmt.Errorf("data directory %s does not exist, and uid %d may not create it: %w; create it: install -d -o %d -m 0750 %s (as root), or set --data to another one",
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
		return fmt.Errorf("data directory %s: %w; --data names a directory, which is created if it does not exist", dir, err)
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}

// GlobEscape returns a pattern for [filepath.Glob] that matches only this name.
func GlobEscape(name string) string { return globEscape.Replace(name) }

var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

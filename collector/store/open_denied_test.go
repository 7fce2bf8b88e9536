package store

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// TestOpenWithoutPermission: a file that belongs to another user, as a command run as root may leave behind, is not
// damage. The store is not set aside, and can be opened once the permission is given.
func TestOpenWithoutPermission(t *testing.T) {
	top := t.TempDir()
	o := testOptions(filepath.Join(top, datadir.StoreDir))
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(o.Dir, "*.vlog"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	if err := os.Chmod(logs[0], 0o444); err != nil {
		t.Fatal(err)
	}
	unprivileged(t, top, func() { s, err = Open(o) })
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EACCES) {
		t.Errorf("got %v", err)
	}
	if aside, _ := filepath.Glob(filepath.Join(o.QuarantineDir, "*")); len(aside) > 0 {
		t.Errorf("set aside: %v", aside)
	}
	if err := os.Chmod(logs[0], 0o644); err != nil {
		t.Fatal(err)
	}
	unprivileged(t, top, func() { s, err = Open(o) })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// unprivileged calls fn as a user who owns the files in dir and is not root, so that permissions apply.
func unprivileged(t *testing.T, dir string, fn func()) {
	t.Helper()
	if os.Getuid() != 0 {
		fn()
		return
	}
	const nobody = 65534
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(name, nobody, nobody))
	})
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // never unlocked, so that the thread ends with the test
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
	defer func() { _, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0) }()
	fn()
}

// TestErrnosInBadgerText: an error of the machine is distinguished from damage, although Badger keeps only the text of
// the cause.
func TestErrnosInBadgerText(t *testing.T) {
	for errno, machine := range map[syscall.Errno]bool{
		syscall.EMFILE: true, syscall.ENOMEM: true, syscall.ENOSPC: true, syscall.EROFS: true, syscall.ENOENT: false, syscall.EINVAL: false,
	} {
		cause := &os.PathError{Op: "open", Path: "/data/store/000003.vlog", Err: errno}
		err := withErrno(y.Wrapf(y.Wrapf(cause, "while opening file: %s", cause.Path), "Open existing file: %q", cause.Path))
		if isEnvironment(err) != machine || machine && !errors.Is(err, errno) {
			t.Errorf("%v: of the machine is %t", err, !machine)
		}
	}
}

package datadir

import (
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

// ErrInUse is returned if another process holds the lock; the message names it.
var ErrInUse = errors.New("data directory is in use")

// Lock is a held lock.
type Lock struct{ file *os.File }

// Acquire takes the lock with the given name (RunLock or CollectLock) without waiting. If another process holds the lock, the error wraps
// ErrInUse and names that process if it is known. The error wraps [ErrUnsafe] if a file that wayside would open is a link.
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
			return nil, fmt.Errorf("%w: %s is held by %s; stop it, or choose another directory with --data", ErrInUse, path, holder(file))
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

// handOver makes the owner of the directory the owner of a lock file that root has just created, because that user must
// be able to open it later.
func handOver(dir string, file *os.File) {
	info, err := file.Stat()
	if to := owner(os.Stat(dir)); err == nil && info.Size() == 0 && owner(info, nil) == 0 && to > 0 {
		_ = file.Chown(to, -1) // fails if a file server does not permit this
	}
}

// nameHolder writes the holder of the lock into the lock file, for people to read. An error, for instance on a full disk, does not
// matter. A file with a second name may belong to someone else, so such a file is locked but not changed.
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

// [ReadInfo] holds RunLock for a moment to see whether it is free. That must not keep another process from taking the lock, so Acquire
// tries several times.
const (
	lockTries = 20
	lockPause = 5 * time.Millisecond
)

var pause = time.Sleep // a variable, so a test can release the lock in the meantime

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

// InPlace reports whether the lock's file still has its name. If not, another process could also lock the directory.
func (l *Lock) InPlace() bool { return disk.InPlace(l.file) }

// Release releases the lock. The file stays: if it were removed, two processes could lock two different files with the same name.
func (l *Lock) Release() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}

type lockState int

const (
	lockUnknown lockState = iota // the lock file cannot be read
	lockFree
	lockHeld
)

// stateOfLock reports whether a process holds [RunLock], and its pid, or 0 if that is unknown. If the lock is free, stateOfLock takes it
// for a moment, as a shared lock.
func stateOfLock(dir string) (state lockState, pid int) {
	file, err := os.Open(filepath.Join(dir, RunLock))
	if errors.Is(err, os.ErrNotExist) {
		return lockFree, 0
	}
	if err != nil {
		return lockUnknown, 0
	}
	defer func() { _ = file.Close() }() // releases the lock
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

package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUnsafe is returned for a data directory into which another user could put files or has already put files.
var ErrUnsafe = errors.New("data directory is not safe to use")

const (
	everyone = 0o002
	group    = 0o020
)

// checkOwner rejects a directory into which others can put files: one that everyone or a foreign group can write to, or that belongs to
// another user. The top of a mounted filesystem is always accepted, because whoever mounts a volume decides about its permissions;
// kubelet, for example, makes volumes writable for everyone.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return nil //nolint:nilerr // the error is reported when something in dir is opened
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || mounted(dir) {
		return nil
	}
	mode, uid := info.Mode().Perm(), os.Getuid()
	switch {
	case mode&everyone != 0:
		return fmt.Errorf("%w: everyone can write to %s (mode %#o) and could plant files in it: chmod 0750 %s, or set --data to another one", ErrUnsafe, dir, mode, dir)
	case int(st.Uid) != uid && st.Uid != 0:
		return fmt.Errorf("%w: %s belongs to uid %d, and this process runs as uid %d: run it as the owner (sudo -u '#%d' wayside …), chown -R it, or set --data to another one",
			ErrUnsafe, dir, st.Uid, uid, st.Uid)
	case mode&group != 0 && st.Gid != 0 && !ownGroup(int(st.Gid)):
		return fmt.Errorf("%w: group %d, to which uid %d does not belong, can write to %s (mode %#o): chmod 0750 %s, or set --data to another one", ErrUnsafe, st.Gid, uid, dir, mode, dir)
	}
	return nil
}

// CheckUser prevents root from writing to the data directory of another user's wayside, which could not open files created by root. The
// error wraps [ErrUnsafe]. For users other than root, the kernel prevents this itself.
func CheckUser(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := checkOwner(dir); err != nil {
		return err
	}
	// The top of a volume can belong to root while the files in it belong to another user. A file server can assign all files, including
	// root's, to one user.
	theirs, name := ownerIn(dir)
	if theirs <= 0 {
		return nil
	}
	probe, err := os.CreateTemp(dir, ".owner-*")
	if err != nil {
		return nil //nolint:nilerr // the error is reported when something in dir is opened
	}
	made := owner(probe.Stat())
	_, _ = probe.Close(), os.Remove(probe.Name())
	if made == theirs {
		return nil
	}
	return fmt.Errorf("%w: %s belongs to uid %d, and this process runs as uid %d: run it as the owner (sudo -u '#%d' wayside …), or chown -R %s",
		ErrUnsafe, filepath.Join(dir, name), theirs, made, theirs, dir)
}

// ownerIn returns the uid that owns wayside's files in dir, and the name of one of them. The uid is -1 if there are
// none.
func ownerIn(dir string) (uid int, name string) {
	for _, name := range []string{RunLock, CollectLock, StoreDir, StoreDir + ".lock", SpoolDir} {
		if uid := owner(os.Lstat(filepath.Join(dir, name))); uid >= 0 {
			return uid, name
		}
	}
	return -1, ""
}

// owner returns the uid of a file, or -1 if it is unknown.
func owner(info fs.FileInfo, err error) int {
	if err != nil {
		return -1
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

func ownGroup(gid int) bool {
	more, _ := os.Getgroups()
	return gid == os.Getegid() || slices.Contains(more, gid)
}

// mounted reports whether a filesystem is mounted at dir.
func mounted(dir string) bool {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, 0, &st); err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	var own, parent unix.Stat_t // for Linux before 5.8
	return unix.Stat(dir, &own) == nil && unix.Stat(filepath.Join(dir, ".."), &parent) == nil && own.Dev != parent.Dev
}

// ours lists the names in a data directory that wayside opens, and the number of levels that are checked below each name. An archive, for
// example, has a folder for each hour.
var ours = map[string]int{
	RunLock: 0, CollectLock: 0, RunFile: 0, RunFile + ".new": 0, CrashFile: 0, StickyKey: 0, StickyKey + ".new": 0, "collect.sock": 0,
	Quarantine: 3, ArchiveDir: 2, ACME: 1,
}

// depthOf returns the number of levels below a name that are checked, or -1 if the name is not wayside's. The store and the spool also
// have files and folders beside them.
func depthOf(name string) int {
	if strings.HasPrefix(name, StoreDir) || strings.HasPrefix(name, SpoolDir) {
		return 2
	}
	if depth, ok := ours[name]; ok {
		return depth
	}
	return -1
}

// checkEntries rejects a directory if an entry that wayside opens is a symbolic link, or neither a file nor a folder:
// writing through it could damage a file elsewhere. It also rejects folders that everyone can write to.
func checkEntries(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil //nolint:nilerr // the error is reported when something in dir is opened
	}
	for _, entry := range entries {
		if err := checkEntry(filepath.Join(dir, entry.Name()), entry, depthOf(entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func checkEntry(name string, entry fs.DirEntry, depth int) error {
	if depth < 0 {
		return nil
	}
	switch entry.Type() {
	case 0, fs.ModeSocket:
		return nil
	case fs.ModeDir:
	case fs.ModeSymlink:
		return fmt.Errorf("%w: %s is a symbolic link, which wayside does not follow there: remove it, or set --data or --archive to where it leads", ErrUnsafe, name)
	default:
		return fmt.Errorf("%w: %s is neither a file nor a folder (%s): remove it", ErrUnsafe, name, entry.Type())
	}
	if info, err := entry.Info(); err == nil && info.Mode()&everyone != 0 && !mounted(name) {
		return fmt.Errorf("%w: everyone can write to %s (mode %#o): chmod 0750 %s", ErrUnsafe, name, info.Mode().Perm(), name)
	}
	if depth == 0 {
		return nil
	}
	below, err := os.ReadDir(name)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	for _, b := range below {
		if err := checkEntry(filepath.Join(name, b.Name()), b, depth-1); err != nil {
			return err
		}
	}
	return nil
}

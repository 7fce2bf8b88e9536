package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/crc32c"
)

// checkAccess checks whether this process has permission to open every file of the store. If another user ran a command, there can be
// files without this permission, and Badger's error for such files could look like damage. The error wraps [ErrUnavailable].
func checkAccess(dir string) error {
	const file = unix.R_OK | unix.W_OK
	if err := mayOpen(dir, file|unix.X_OK); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		if err := mayOpen(filepath.Join(dir, entry.Name()), file); err != nil {
			return err
		}
	}
	return nil
}

func mayOpen(name string, mode uint32) error {
	err := unix.Faccessat(unix.AT_FDCWD, name, mode, unix.AT_EACCESS)
	if !errors.Is(err, fs.ErrPermission) {
		return nil // if the file is missing or on a read-only filesystem, opening it will report that
	}
	uid := os.Geteuid()
	if info, statErr := os.Lstat(name); statErr == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return fmt.Errorf("%w: cannot open %s: it belongs to uid %d (mode %#o), and this process runs as uid %d: %w; chown -R %d %s",
				ErrUnavailable, name, st.Uid, info.Mode().Perm(), uid, err, uid, filepath.Dir(name))
		}
	}
	return fmt.Errorf("%w: cannot open %s as uid %d: %w", ErrUnavailable, name, uid, err)
}

// isEnvironment distinguishes errors of the filesystem and of the machine from damaged data.
func isEnvironment(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		// A file that is missing, truncated, or of the wrong kind means damage; all other errors are caused by the machine.
		return errno != syscall.ENOENT && errno != syscall.EINVAL && errno != syscall.EISDIR && errno != syscall.ENOTDIR
	}
	return errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDamaged)
}

// machineErrnos are the errors that an undamaged file can cause when it is opened.
var machineErrnos = []syscall.Errno{
	syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG,
	syscall.ESTALE,
}

// withErrno looks for an error number whose text is at the end of an error from Badger, and wraps that number as well. Badger (4.9.6)
// keeps only the text of the cause, so a log that cannot be opened would otherwise look damaged.
func withErrno(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return err
	}
	for _, errno := range machineErrnos {
		if strings.Contains(err.Error(), ": "+errno.Error()) {
			return fmt.Errorf("%w (%w)", err, errno)
		}
	}
	return err
}

// schemaFile holds the schema version as text, with a CRC32C of that text, and can therefore be read before Badger writes anything. If
// the checksum is missing or wrong, the file is ignored: a flipped bit must not make a store look newer than it is.
const schemaFile = "schema"

func checkSchemaFile(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, schemaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	number, sum, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	version, err := strconv.Atoi(number)
	if err != nil || sum != schemaSum(number) {
		return nil //nolint:nilerr // the file is incomplete or damaged; the version is also in the database
	}
	if version > SchemaVersion {
		return fmt.Errorf("%w: schema %d, but this version supports only up to %d", ErrSchema, version, SchemaVersion)
	}
	return nil
}

func schemaSum(number string) string {
	return fmt.Sprintf("%08x", crc32c.Sum([]byte(number)))
}

func writeSchemaFile(dir string) error {
	name := filepath.Join(dir, schemaFile)
	number := strconv.Itoa(SchemaVersion)
	want := number + " " + schemaSum(number) + "\n"
	if text, err := os.ReadFile(name); err == nil && string(text) == want {
		return nil
	}
	return writeFileSynced(name, []byte(want))
}

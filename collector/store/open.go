package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// openMu: while a store is opened the process's crash output goes to its marker, so one is opened at a time.
var openMu sync.Mutex

// Open opens the store, or makes a new one. It starts nothing but Badger's own goroutines; see [Store.Run].
//
// What it may find:
//
//   - nothing, or an empty folder: a new store is made;
//   - a store closed in order: opened;
//   - a store whose process was killed: batches beyond the checkpoint are folded again, and log files that were created
//     and not begun are removed;
//   - a store that is open elsewhere: [ErrInUse];
//   - a store, or ledgers kept beside it, of a newer wayside: [ErrSchema], and nothing is touched;
//   - a full disk: the reserve file is given up and the store opened; if that is not enough, [ErrUnavailable];
//   - another error of the file system: [ErrUnavailable], and nothing is touched;
//   - a damaged store, one that [Condemn] was called for, or one during whose opening Go crashed twice: it is moved to
//     QuarantineDir as <date>-store, with a report beside it, a warning is logged, and a new one begins empty (aside.go). The
//     package comment says what that means;
//   - ledgers beside the store that the store does not have: they come back, and what is missing of their epochs counts as
//     quarantined. A damaged file of ledgers is set aside, and written anew.
//
// A process killed with SIGKILL leaves no crash text and is not held against the store.
func Open(o Options) (*Store, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	openMu.Lock()
	defer openMu.Unlock()
	if err := os.MkdirAll(filepath.Dir(o.Dir), 0o750); err != nil {
		return nil, fmt.Errorf("open store %s: %w: %w", o.Dir, ErrUnavailable, err)
	}
	lock, err := lockStore(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	if o.anew, err = begun(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w: %w", o.Dir, ErrUnavailable, err), lock.Close())
	}
	s, err := openLocked(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", o.Dir, err), lock.Close())
	}
	s.lock = lock
	if !o.anew {
		noteBegun(&o, lock)
	}
	s.keepReserve()
	return s, nil
}

func lockStore(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a file descriptor
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("%w: lock: %w", ErrUnavailable, err)
	}
	return f, nil
}

// begun reports whether there has been a store here, which the lock file remembers when the store's folder is gone.
func begun(lock *os.File) (bool, error) {
	info, err := lock.Stat()
	return err == nil && info.Size() > 0, err //nolint:wrapcheck // names the file
}

// Begun reports whether there has been a store in dir, also where it is gone.
func Begun(dir string) bool {
	info, err := os.Stat(dir + ".lock")
	return err == nil && info.Size() > 0
}

// noteBegun makes the lock file remember that there is a store.
func noteBegun(o *Options, lock *os.File) {
	_, err := lock.WriteAt([]byte("a store was begun here\n"), 0)
	if err = errors.Join(err, lock.Sync()); err != nil {
		o.Logger.Warn("store: the lock file does not remember that there is a store", "error", err)
	}
}

func openLocked(o Options) (*Store, error) {
	var err error
	if o.kept, err = readKept(&o); err != nil {
		return nil, err
	}
	o.anew = o.anew || o.kept != nil
	if err := checkAccess(o.Dir); err != nil {
		return nil, err
	}
	if err := checkSchemaFile(o.Dir); err != nil {
		return nil, err
	}
	if err := ensureFree(&o); err != nil {
		return nil, err
	}
	mark, err := beginOpening(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	reason, err := condemned(&o, mark)
	if err == nil && reason != "" {
		mark.crashes = 0
		err = setAside(&o, reason)
	}
	if err != nil {
		return nil, errors.Join(err, mark.end())
	}
	s, err := openOrReplace(o)
	if err := mark.end(); err != nil {
		o.Logger.Warn("store: the opening marker could not be removed", "error", err)
	}
	return s, err
}

func openOrReplace(o Options) (*Store, error) {
	s, err := tryOpen(o)
	if errors.Is(err, syscall.ENOSPC) && dropReserve(&o) {
		s, err = tryOpen(o)
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, ErrSchema):
		return nil, err
	case isEnvironment(err):
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case o.RefuseDamaged && errors.Is(err, ErrDamaged):
		return nil, err
	case o.RefuseDamaged:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := setAside(&o, err.Error()); err != nil {
		return nil, err
	}
	if s, err = tryOpen(o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return s, nil
}

// isEnvironment tells errors of the file system and of the machine from those of the data.
func isEnvironment(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		// A file that is missing, cut short, or of the wrong kind is damage; all else is the machine.
		return errno != syscall.ENOENT && errno != syscall.EINVAL && errno != syscall.EISDIR && errno != syscall.ENOTDIR
	}
	return errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDamaged)
}

// tryOpen opens Badger and reads what is kept in memory. A panic of Badger's becomes an error.
func tryOpen(o Options) (s *Store, err error) {
	unlisted, err := prepare(&o)
	if err != nil {
		return nil, err
	}
	if s, err = newStore(o); err != nil {
		return nil, err
	}
	if s.db, err = openBadger(&o); err != nil {
		s.apply.close()
		return nil, err
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: panic: %v", ErrDamaged, cause)
		}
		if err != nil {
			s.apply.close()
			err = errors.Join(err, s.db.Close())
			s = nil
		}
	}()
	if err = writeSchemaFile(o.Dir); err != nil {
		return s, err
	}
	if err = s.load(); err == nil && unlisted {
		if err = s.missesUnlisted(); err == nil {
			err = dropUnlisted(&o)
		}
	}
	if err == nil {
		err = s.bringLedgersBack()
	}
	if err == nil && o.cut {
		if err := os.Remove(cutFile(&o)); err != nil { // the question is asked once more
			o.Logger.Warn("store: a file stays", "error", err)
		}
	}
	return s, err
}

// prepare looks at the files before Badger does, which repairs what it takes for the end of a log or of the list of tables.
func prepare(o *Options) (unlisted bool, err error) {
	if err = errors.Join(checkTables(o.Dir), checkLogs(o.Dir)); err != nil {
		return false, err
	}
	if o.cut, err = lookForCut(o); err != nil {
		return false, err
	}
	return keepUnlisted(o)
}

func openBadger(o *Options) (db *badger.DB, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			db, err = nil, fmt.Errorf("%w: panic: %v", ErrDamaged, cause)
		}
	}()
	if err := removeUnbegun(o.Dir); err != nil {
		return nil, err
	}
	db, err = badger.Open(badgerOptions(o))
	if err != nil {
		return nil, withErrno(err) // the caller sorts it
	}
	return db, nil
}

// machineErrnos are what the machine says when a file that is whole cannot be opened.
var machineErrnos = []syscall.Errno{
	syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG,
	syscall.ESTALE,
}

// withErrno gives an error of Badger's the error number that its text ends with: Badger (4.9.6) keeps no more of a cause than its text,
// and a log that may not be opened would pass for a damaged one.
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

// removeUnbegun removes log files of Badger's that were created and never given a length: the process was killed between the
// two. Nothing was ever written to them, and Badger (4.9.6) refuses to open with one, as if the store were damaged.
func removeUnbegun(dir string) error {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err //nolint:wrapcheck // cannot be: the patterns are constants
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
				err = os.Remove(name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
	}
	return nil
}

// schemaFile holds the schema version as text and that text's CRC32C, for whoever looks before Badger may write. One whose
// checksum is missing or wrong says nothing: a flipped bit must not make a store look newer than it is.
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
		return nil //nolint:nilerr // torn or damaged; the database holds the version too
	}
	if version > SchemaVersion {
		return fmt.Errorf("%w: schema %d, known up to %d", ErrSchema, version, SchemaVersion)
	}
	return nil
}

func schemaSum(number string) string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(number), castagnoli))
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

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

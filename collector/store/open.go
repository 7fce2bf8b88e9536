package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
)

// openMu is held by Open, so only one store is opened at a time: during that time, the crash output of the process goes to the marker
// file of that store.
var openMu sync.Mutex

// Open opens the store, or creates a new one. It starts no goroutines except Badger's own; see [Store.Run].
//
// It handles each state that it may find:
//
//   - nothing, or an empty folder: it creates a new store;
//   - a store that was closed: it opens the store;
//   - a store whose process was killed: it folds the batches since the checkpoint again, and removes log files that Badger had created
//     but not yet extended;
//   - a store that is open elsewhere: it returns [ErrInUse];
//   - a store or a ledger backup that a newer wayside wrote: it returns [ErrSchema] and changes nothing;
//   - a full disk: it removes the reserve file and opens the store, or returns [ErrUnavailable] if that is not enough;
//   - another filesystem error: it returns [ErrUnavailable] and changes nothing;
//   - a store that is damaged or condemned (see [Condemn]), or whose opening has crashed the Go runtime twice: it moves the store to
//     QuarantineDir as <date>-store, with a report beside it, logs a warning, and creates a new store (set_aside.go). The package comment
//     says what is lost;
//   - a ledger backup with ledgers that the store lacks: it restores the ledgers, and counts the missing responses of their epochs as
//     quarantined.
//
// If the ledger backup is damaged, Open sets it aside and writes a new one. A SIGKILL leaves no crash text, so it never causes Open to
// set the store aside.
func Open(o Options) (*Store, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	openMu.Lock()
	defer openMu.Unlock()
	s, err := open(&o)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	makeReserve(&o)
	return s, nil
}

// findings are the facts that Open finds out before it opens the database.
type findings struct {
	replaced bool // whether the store, if it is new, replaces another one
	cut      bool // whether the store may be in an earlier state because the last log has lost its end
	orphans  bool // whether there are tables that the MANIFEST does not list
	backup   *ledgerBackup
}

func open(o *Options) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(o.Dir), 0o750); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	lock, err := lockStore(o.Dir)
	if err != nil {
		return nil, err
	}
	s, err := openLocked(o, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

func lockStore(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("%w: lock: %w", ErrUnavailable, err)
	}
	return f, nil
}

// Begun reports whether there has ever been a store in dir, even if the store no longer exists. The lock file records this.
func Begun(dir string) bool {
	info, err := os.Stat(dir + ".lock")
	return err == nil && info.Size() > 0
}

// noteBegun records in the lock file that a store has been created.
func noteBegun(o *Options, lock *os.File) {
	_, err := lock.WriteAt([]byte("a store was begun here\n"), 0)
	if err = errors.Join(err, lock.Sync()); err != nil {
		o.Logger.Warn("store: cannot write the lock file; if the store is lost, the next one will not be refilled from the archive", "error", err)
	}
}

func openLocked(o *Options, lock *os.File) (*Store, error) {
	info, err := lock.Stat()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	begun := info.Size() > 0
	found := findings{}
	if found.backup, err = readBackup(o); err != nil {
		return nil, err
	}
	found.replaced = begun || found.backup.exists()
	if err := checkAccess(o.Dir); err != nil {
		return nil, err
	}
	if err := checkSchemaFile(o.Dir); err != nil {
		return nil, err
	}
	if err := ensureFree(o); err != nil {
		return nil, err
	}
	marker, err := beginOpening(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	reason, err := condemned(o, marker)
	if err == nil && reason != "" {
		marker.crashes = 0
		err = setAside(o, &found, reason)
	}
	if err != nil {
		return nil, errors.Join(err, marker.end())
	}
	s, err := openOrReplace(o, &found)
	if err := marker.end(); err != nil {
		o.Logger.Warn("store: cannot remove the file store.opening, which marks an attempt to open the store; the next one overwrites it", "error", err)
	}
	if err == nil && !begun {
		noteBegun(o, lock)
	}
	return s, err
}

// openOrReplace opens the store. If the store turns out to be damaged, openOrReplace sets it aside and creates a new one.
func openOrReplace(o *Options, found *findings) (*Store, error) {
	s, err := tryOpen(o, found)
	if errors.Is(err, syscall.ENOSPC) && dropReserve(o) {
		s, err = tryOpen(o, found)
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
	if err := setAside(o, found, err.Error()); err != nil {
		return nil, err
	}
	if s, err = tryOpen(o, found); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return s, nil
}

// tryOpen checks the files, opens Badger and loads the store. It turns a panic in Badger into an error.
func tryOpen(o *Options, found *findings) (s *Store, err error) {
	if err := inspectFiles(o, found); err != nil {
		return nil, err
	}
	db, err := openBadger(o)
	if err != nil {
		return nil, err
	}
	s = newStore(o, db, found.backup)
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: panic: %v", ErrDamaged, cause)
		}
		if err != nil {
			s.apply.close()
			s, err = nil, errors.Join(err, db.Close())
		}
	}()
	if err := writeSchemaFile(o.Dir); err != nil {
		return s, err
	}
	if err := s.load(*found); err != nil {
		return s, err
	}
	if found.orphans {
		if err := s.checkOrphans(); err != nil {
			return s, err
		}
	}
	if err := s.restoreLedgers(); err != nil {
		return s, err
	}
	if found.cut {
		if err := os.Remove(cutFile(o)); err != nil {
			o.Logger.Warn("store: cannot remove a file; the archive will be checked again the next time the store is opened", "error", err)
		}
	}
	return s, nil
}

// inspectFiles examines Badger's files before Badger opens them, because Badger truncates damaged logs and a damaged
// MANIFEST without an error.
func inspectFiles(o *Options, found *findings) (err error) {
	if err = errors.Join(badgerfiles.CheckTables(o.Dir), badgerfiles.CheckLogs(o.Dir)); err != nil {
		return err
	}
	if found.cut, err = lastLogCut(o); err != nil {
		return err
	}
	found.orphans, err = badgerfiles.LinkOrphans(o.Dir, orphansDir(o))
	return err
}

// cutFile returns the path of the file that records that the last log has lost its end. After Badger has truncated the log, nothing else
// shows this. The file is removed when the store itself has recorded the loss.
func cutFile(o *Options) string { return o.Dir + ".cut" }

// lastLogCut reports whether the store may be in an earlier state, because Badger opens the rest of a truncated log without an error.
// Such a store lacks the latest plans, and contains events again that it had already archived and deleted. So every epoch becomes
// unreconciled, and the archive is checked before anything is archived. If the log only looks truncated because a process died while it
// was writing, that check finds nothing.
func lastLogCut(o *Options) (bool, error) {
	if badgerfiles.Exists(cutFile(o)) {
		return true, nil
	}
	cut, err := badgerfiles.LastLogCut(o.Dir, o.MemTableBytes)
	if err != nil || !cut {
		return false, err
	}
	if err := writeFileSynced(cutFile(o), nil); err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return true, nil
}

func openBadger(o *Options) (db *badger.DB, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			db, err = nil, fmt.Errorf("%w: panic: %v", ErrDamaged, cause)
		}
	}()
	if err := badgerfiles.RemoveEmptyLogs(o.Dir); err != nil {
		return nil, err
	}
	db, err = badger.Open(badgerfiles.Options(o.Dir, o.MemTableBytes, o.Logger))
	if err != nil {
		return nil, withErrno(err)
	}
	return db, nil
}

// Clone makes a temporary copy of a store that no process has open.
func Clone(to, from string) error {
	return badgerfiles.Clone(to, from)
}

// Tables returns the names of the tables that a store in dir must currently have, according to the readable part of its MANIFEST. The
// store may be open in another process.
func Tables(dir string) []string { return badgerfiles.TableNames(dir) }

package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/disk"
)

// On a full disk there is no room for a ledger, and a count in memory is lost when the process ends. A sparse file needs no disk blocks,
// no matter how large it is. So the tally of an epoch without a ledger is a sparse file next to the spool. The file's size in bytes is
// the number of dropped responses. The next process that has room turns it into a ledger.
//
// Run updates the tally at most once per commit interval. After kill -9, the drops since the last update may be missing.

const (
	tallySuffix    = ".tally-" // after the path of the spool's folder; the epoch follows
	tallyNewPrefix = ".tally-new-"
)

// tally is the drop count of the current epoch while it has no ledger. The zero value counts nothing and has no file.
type tally struct {
	file    *os.File
	counted uint64 // the size of the file
}

func tallyName(o *Options, id uuid.UUID) string { return o.Dir + tallySuffix + id.String() }

// update writes the number of drops of an epoch, unless the epoch has a ledger.
func (t *tally) update(o *Options, e *epoch) error {
	_, dropped := e.counters.droppedByReason()
	if e.counters.attached() || dropped == t.counted {
		return nil
	}
	if t.file == nil {
		f, err := openTally(tallyName(o, e.id), os.O_CREATE|os.O_EXCL)
		if err != nil {
			return err
		}
		t.file = f
	}
	if err := t.file.Truncate(int64(dropped)); err != nil {
		return fmt.Errorf("tally: %w", err)
	}
	t.counted = dropped
	return nil
}

// remove deletes the file. It is called when a ledger contains the count.
func (t *tally) remove() {
	if t.file != nil {
		_ = os.Remove(t.file.Name())
		_ = t.file.Close()
		*t = tally{}
	}
}

// openTally opens a tally and locks it. It fails with errBusy while the tally's process is alive.
func openTally(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|flag, 0o600)
	if err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", errBusy, name, err), f.Close())
	}
	return f, nil
}

// takeTallies turns the tallies of dead processes into folders with ledgers, and returns the folders. A tally remains if there is no room
// for a ledger yet.
func (t *takeover) takeTallies() (dirs []string) {
	t.tallies = false
	parent, base := filepath.Split(t.o.Dir + tallySuffix)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), base)
		id, err := uuid.Parse(rest)
		if !ok || err != nil || id == t.current.id {
			continue
		}
		dir, err := t.takeTally(id)
		if err != nil {
			t.tallies = true
			t.o.Logger.Debug("cannot move the drop count of an earlier process from its tally file to a ledger yet; will try again",
				"epoch", id, "error", err)
		} else if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// takeTally turns one tally into a folder with a ledger. It creates the folder under a temporary name, so that the epoch's folder never exists
// without the count.
func (t *takeover) takeTally(id uuid.UUID) (dir string, err error) {
	f, err := openTally(tallyName(&t.o, id), 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("tally: %w", err)
	}
	dir = filepath.Join(t.o.Dir, id.String())
	_, err = os.Stat(dir)
	if n := info.Size(); n > 0 && n < counterJumpMax && errors.Is(err, os.ErrNotExist) {
		e := &epoch{id: id, dir: filepath.Join(t.o.Dir, tallyNewPrefix+id.String())}
		e.counters.drop(RefusedUnavailable, uint64(n))
		if err := makeFolder(&t.o, e); err != nil {
			return "", err
		}
		e.counters.detach()
		err := errors.Join(syncFile(filepath.Join(e.dir, ledgerName)), disk.SyncDir(e.dir), e.closeFiles())
		if err = errors.Join(err, os.Rename(e.dir, dir), disk.SyncDir(t.o.Dir)); err != nil {
			return "", fmt.Errorf("turn a tally into a ledger: %w", err)
		}
		t.o.Logger.Warn("an earlier process had no room for a ledger: the responses that it dropped are now counted", "epoch", id, "responses", n)
	}
	return dir, os.Remove(f.Name())
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

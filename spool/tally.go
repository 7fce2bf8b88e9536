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

// On a full disk there is no room for a ledger, and a count in memory ends with the process. The size of a file without blocks needs no
// room. So the tally of an epoch without a ledger is a sparse file beside the spool, with as many bytes as responses were dropped. The next
// process that has room makes a ledger of it.
//
// Run updates the tally once in a commit interval: after kill -9 the drops since the last update may be missing.

const (
	tallySuffix    = ".tally-" // after the path of the spool's folder; the epoch follows
	tallyNewPrefix = ".tally-new-"
)

// tally is that of the active epoch. The zero value is a tally of nothing, without a file.
type tally struct {
	file    *os.File
	counted uint64 // the size of file
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

// remove deletes the file, when a ledger has the count.
func (t *tally) remove() {
	if t.file != nil {
		_ = os.Remove(t.file.Name())
		_ = t.file.Close()
		*t = tally{}
	}
}

// openTally opens a tally and locks it, or fails with errBusy while its process lives.
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

// takeTallies makes folders with ledgers of the tallies of dead processes, and returns the folders. A tally for which there is no room yet
// stays.
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
			t.o.Logger.Debug("a tally stays", "epoch", id, "error", err)
		} else if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// takeTally creates the folder under another name first, so that a folder of an epoch always has the count.
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
			return "", fmt.Errorf("make a ledger of a tally: %w", err)
		}
		t.o.Logger.Warn("an earlier process had no room for a ledger: the responses that it dropped are counted now", "epoch", id, "responses", n)
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

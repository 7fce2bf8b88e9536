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

// On a full disk there is no room for a ledger, and a count in memory ends with the process. What needs no room is the size of a file
// that has no blocks: the tally of an epoch without a ledger is an empty file beside the spool, as many bytes long as responses were
// dropped. Whoever finds it, and has room, makes a ledger of it.
//
// Run follows the count once in a commit interval: after kill -9 the responses dropped since then may be missing.

const (
	tallySuffix    = ".tally-" // behind the name of the spool's folder; the epoch follows
	tallyNewPrefix = ".tally-new-"
)

func tallyName(o *Options, id uuid.UUID) string { return o.Dir + tallySuffix + id.String() }

// keepTally brings the tally up to date, if the active epoch has no ledger.
func (c *committer) keepTally() error {
	counters := &c.current.counters
	_, dropped := counters.droppedByReason()
	if counters.attached() || dropped == c.tallied {
		return nil
	}
	if c.tally == nil {
		f, err := openTally(tallyName(&c.o, c.current.id), os.O_CREATE|os.O_EXCL)
		if err != nil {
			return err
		}
		c.tally = f
	}
	if err := c.tally.Truncate(int64(dropped)); err != nil {
		return fmt.Errorf("tally: %w", err)
	}
	c.tallied = dropped
	return nil
}

// dropTally removes the tally, whose count a ledger has now.
func (c *committer) dropTally() {
	if c.tally != nil {
		_ = os.Remove(c.tally.Name())
		_ = c.tally.Close()
		c.tally, c.tallied = nil, 0
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

// takeTallies makes folders with ledgers of the tallies of dead processes, and returns them. What there is no room for stays.
func (c *committer) takeTallies() (dirs []string) {
	c.tallies = false
	parent, base := filepath.Split(c.o.Dir + tallySuffix)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), base)
		id, err := uuid.Parse(rest)
		if !ok || err != nil || id == c.current.id {
			continue
		}
		dir, err := c.takeTally(id)
		if err != nil {
			c.tallies = true
			c.o.Logger.Debug("a tally stays", "epoch", id, "error", err)
		} else if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// takeTally makes the folder under another name first, so that a folder that is there has the count.
func (c *committer) takeTally(id uuid.UUID) (dir string, err error) {
	f, err := openTally(tallyName(&c.o, id), 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("tally: %w", err)
	}
	dir = filepath.Join(c.o.Dir, id.String())
	_, err = os.Stat(dir)
	if n := info.Size(); n > 0 && n < counterJumpMax && errors.Is(err, os.ErrNotExist) {
		e := &epoch{id: id, dir: filepath.Join(c.o.Dir, tallyNewPrefix+id.String())}
		e.counters.drop(RefusedUnavailable, uint64(n))
		if err := makeFolder(&c.o, e); err != nil {
			return "", err
		}
		e.counters.detach()
		err := errors.Join(syncFile(filepath.Join(e.dir, ledgerName)), disk.SyncDir(e.dir), e.closeFiles())
		if err = errors.Join(err, os.Rename(e.dir, dir), disk.SyncDir(c.o.Dir)); err != nil {
			return "", fmt.Errorf("make a ledger of a tally: %w", err)
		}
		c.o.Logger.Warn("an earlier process had no room for a ledger: the responses that it dropped are counted now", "epoch", id, "responses", n)
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

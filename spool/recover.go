package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// retiredPrefix marks folders that are being removed.
const retiredPrefix = ".retired-"

func (c *committer) removeRetired() {
	names, _ := filepath.Glob(filepath.Join(c.o.Dir, retiredPrefix+"*"))
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			c.o.Logger.Warn("retired spool folder stays", "folder", name, "error", err)
		}
	}
}

// recoverAll adopts the folders of dead processes. What cannot be taken now is kept in s.skipped. The caller holds sem.
func (c *committer) recoverAll(dirs []string) {
	newer := int64(0)
	defer func() { c.newerFolders.Store(newer) }()
	for _, dir := range dirs {
		if dir == c.current.dir {
			continue
		}
		e, err := c.recoverEpoch(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue // retired by its owner meanwhile
		case errors.Is(err, errBusy):
			c.skipped = append(c.skipped, dir)
			continue
		case err != nil:
			c.skipped = append(c.skipped, dir)
			if errors.Is(err, queue.ErrNewer) {
				newer++
			}
			if !c.warned[dir] {
				c.warned[dir] = true
				c.o.Logger.Warn("spool folder left alone for now", "folder", dir, "error", err)
			}
			continue
		}
		if e.blank() && c.discard(e) == nil {
			continue // its process ended before the first response
		}
		c.mu.Lock()
		c.epochs = append(c.epochs, e)
		sort.SliceStable(c.epochs, func(i, j int) bool {
			a, b := c.epochs[i], c.epochs[j]
			if (a == c.current) != (b == c.current) {
				return b == c.current
			}
			return a.id.String() < b.id.String()
		})
		c.changedLocked()
		c.mu.Unlock()
	}
}

// recovery takes over the folder of one dead process.
type recovery struct {
	*committer
	e     *epoch
	known *queue.State // the newest state in its queue files, else what the ledger page has of it
	page  pageFigures
}

// recoverEpoch locks a folder, reads what its queue files hold, commits what its journal holds beyond them, and works out the
// ledger.
func (c *committer) recoverEpoch(dir string) (_ *epoch, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("recover spool: %w", err)
	}
	e := &epoch{id: uuid.MustParse(filepath.Base(dir)), dir: dir, closed: true}
	if e.lock, err = lockFolder(dir, false); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = e.closeFiles()
		}
	}()
	if err = refuseNewer(dir); err != nil {
		return nil, err
	}
	if err = mayRead(dir); err != nil {
		return nil, err
	}
	r := recovery{committer: c, e: e}
	if err = r.load(); err != nil {
		return nil, err
	}
	fromJournal := r.reconcile()
	for i := range e.index {
		e.lastSeq = max(e.lastSeq, e.index[i].Last)
	}
	if e.writer() != nil && fromJournal > 0 {
		_ = c.commitAcksOf(e) // the ledger with what the journal added; found again the same way if it fails
	}
	c.reportClosedDrops(e)
	if n := len(e.index); n > 0 || e.recorded > 0 {
		c.o.Logger.Info("recovered spool", "epoch", e.id, "batches", n, "recorded", e.recorded, "from_journal", fromJournal)
	}
	return e, nil
}

// mayRead looks whether this process may read what a folder holds. What it may not is not damaged: it waits until it was given back.
func mayRead(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("recover spool: %w", err)
	}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if err := unix.Faccessat(unix.AT_FDCWD, name, unix.R_OK, unix.AT_EACCESS); errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("recover spool: open %s as uid %d: %w; chown -R %d %s", name, os.Geteuid(), err, os.Geteuid(), dir)
		}
	}
	return nil
}

// load reads queue files and ledger page, and takes over their figures.
func (r *recovery) load() (err error) {
	e := r.e
	if r.known, err = r.loadQueues(); err != nil {
		return err
	}
	page, pageOK := readPage(e.dir, e.id)
	r.page = page
	if r.known == nil {
		r.known = &queue.State{}
		if pageOK && r.page.committed != nil {
			r.known = r.page.committed
		}
	}
	known := r.known
	e.acked, e.ackedResponses, e.expired = known.Acked, known.AckedResponses, known.Expired
	e.reported = reportedOf(known.Reported)
	e.generation, e.lastSeq = known.Generation, max(known.LastSeq, known.Acked)
	e.dropAckedLocked()
	r.count() // before anything is committed: the figures go with it, and this process may die as well
	ever := known.Recorded + droppedLater(known)
	e.recorded = ever - min(ever, e.counters.dropped(lostDamaged)+e.counters.dropped(lostAge)) // for the commits until all is reconciled
	return nil
}

// dropAckedLocked forgets what was acknowledged but still stands in a file.
func (e *epoch) dropAckedLocked() {
	kept := e.index[:0]
	for _, b := range e.index {
		if b.Last > e.acked {
			kept = append(kept, b)
		} else if b.file != nil {
			b.file.Remove(&b.Batch)
		}
	}
	e.index = kept
}

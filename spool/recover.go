package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// retiredPrefix marks folders that are being removed.
const retiredPrefix = ".retired-"

func removeRetired(o *Options) {
	names, _ := filepath.Glob(filepath.Join(o.Dir, retiredPrefix+"*"))
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			o.Logger.Warn("cannot remove a spool folder whose events have all been applied; it stays until the next start",
				"folder", name, "error", err)
		}
	}
}

// takeover takes over the folders and tallies of dead processes.
type takeover struct {
	*committer
	skipped []string        // folders that could not be taken over yet
	warned  map[string]bool // skipped folders that have been logged
	tallies bool            // some tallies could not be taken over yet
}

// retry tries again to take over the tallies and folders for which this has failed.
func (t *takeover) retry() {
	if t.tallies {
		t.skipped = append(t.skipped, t.takeTallies()...)
	}
	if dirs := t.skipped; len(dirs) > 0 {
		t.skipped = nil
		t.recoverAll(dirs)
	}
}

// recoverAll takes over folders. It adds to skipped those that cannot be taken over now.
func (t *takeover) recoverAll(dirs []string) {
	newer := int64(0)
	defer func() { t.newerFolders.Store(newer) }()
	for _, dir := range dirs {
		if dir == t.current.dir {
			continue
		}
		e, err := recoverEpoch(t.committer, dir)
		switch {
		case errors.Is(err, os.ErrNotExist): // its owner has retired it in the meantime
		case errors.Is(err, errBusy):
			t.skipped = append(t.skipped, dir)
		case err != nil:
			t.skipped = append(t.skipped, dir)
			if errors.Is(err, queue.ErrNewer) {
				newer++
			}
			if !t.warned[dir] {
				t.warned[dir] = true
				t.o.Logger.Warn("cannot take over a spool folder yet; its events wait in it, and wayside will try again", "folder", dir, "error", err)
			}
		case e.blank() && t.discard(e) == nil: // its process ended before the first response
		default:
			t.add(e)
		}
	}
}

// add makes a recovered epoch visible to readers. Epochs are ordered oldest first, with the current one last.
func (t *takeover) add(e *epoch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epochs = append(t.epochs, e)
	sort.SliceStable(t.epochs, func(i, j int) bool {
		a, b := t.epochs[i], t.epochs[j]
		if (a == t.current) != (b == t.current) {
			return b == t.current
		}
		return a.id.String() < b.id.String()
	})
	t.changedLocked()
}

// recovery takes over the folder of one dead process.
type recovery struct {
	*committer
	e     *epoch
	known *queue.State // the newest state in its queue files or, if there is none, the one in the ledger page
	page  pageFigures
}

// recoverEpoch locks a folder, reads its queue files, commits the events that are only in its journal, and works out the ledger.
func recoverEpoch(c *committer, dir string) (_ *epoch, err error) {
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
		_ = c.commitAcksOf(e) // writes the figures; if it fails, the next start works out the same ones
	}
	c.reportClosedDrops(e)
	if n := len(e.index); n > 0 || e.recorded > 0 {
		c.o.Logger.Info("recovered spool", "epoch", e.id, "batches", n, "recorded", e.recorded, "from_journal", fromJournal)
	}
	return e, nil
}

// mayRead checks whether this process has permission to read all files in a folder. Files for which it has no permission are not treated
// as damaged: they wait until their owner is corrected.
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

// load reads the queue files and the ledger page, and adopts their figures.
func (r *recovery) load() (err error) {
	e := r.e
	if r.known, err = r.loadQueues(); err != nil {
		return err
	}
	r.page, _ = readPage(e.dir, e.id)
	r.known = r.page.stateOr(r.known)
	known := r.known
	e.acked, e.ackedResponses, e.expired = known.Acked, known.AckedResponses, known.Expired
	e.reported = reportedOf(known.Reported)
	e.generation, e.lastSeq = known.Generation, max(known.LastSeq, known.Acked)
	e.dropAckedLocked()
	r.takeCounts() // before the first commit, which writes these figures: this process may also die
	ever := known.Recorded + droppedLater(known)
	e.recorded = ever - min(ever, e.counters.droppedLater()) // preliminary; reconcileLedger sets the final figure
	return nil
}

// dropAckedLocked removes from the index the batches that have been acknowledged but are still in a file.
func (e *epoch) dropAckedLocked() {
	e.index = slices.DeleteFunc(e.index, func(b entry) bool {
		acked := b.Last <= e.acked
		if acked && b.file != nil {
			b.file.Remove(&b.Batch)
		}
		return acked
	})
}

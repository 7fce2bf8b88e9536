package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wayside-proxy/wayside/internal/disk"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Backup is an unfinished copy of a Set. Open treats the finished copy as if the process had died when the copy began.
//
// The order of the steps ensures this. The committer waits while they run, so that no event moves from the journal into the queue. The
// ledger is copied first, because figures that are too low for the events are harmless, whereas figures that are too high would count as
// a loss (ADR 47). An event that is appended while its segment is being copied is either completely in the copy or missing from it, like
// an event whose writer died. The queue, which may be large, is copied afterwards, from a transaction that began during these steps.
type Backup struct {
	queues []queueCopy
}

type queueCopy struct {
	to   string
	from *queue.Snapshot
}

// BeginBackup copies the ledgers and journals of all epochs into dir, and takes snapshots of their queues. dir must not exist; it
// becomes the copy's Options.Dir. Finish or Close must follow. The caller must make sure that nothing is acknowledged, and no epoch is
// retired, between the corresponding snapshot of the store and this call. The error wraps ErrUnavailable if there is currently no spool.
func (s *Set) BeginBackup(ctx context.Context, dir string) (*Backup, error) {
	b := &Backup{}
	err := s.step(ctx, func(*committer) error { return b.begin(s, dir) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy the spool: %w", err), b.Close())
	}
	return b, nil
}

// begin does the work of BeginBackup. The caller must hold the committer.
func (b *Backup) begin(s *Set, dir string) error {
	if s.journal.Load() == nil {
		return fmt.Errorf("%w: events are not being recorded", ErrUnavailable)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	own := map[string]bool{}
	for _, e := range s.allEpochs() {
		own[e.dir] = true
		if err := b.beginEpoch(s, e, filepath.Join(dir, filepath.Base(e.dir))); err != nil {
			return fmt.Errorf("epoch %s: %w", e.id, err)
		}
	}
	for _, folder := range folders(s.o.Dir) {
		if !own[folder] {
			return fmt.Errorf("%s could not be taken over, so it is missing from the backup: see the log", folder)
		}
	}
	parent, base := filepath.Split(s.o.Dir)
	entries, err := os.ReadDir(filepath.Clean(parent))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if suffix, ok := strings.CutPrefix(entry.Name(), base); ok && strings.HasPrefix(suffix, tallySuffix) {
			if err := copySparse(dir+suffix, filepath.Join(parent, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Backup) beginEpoch(s *Set, e *epoch, to string) error {
	if err := os.Mkdir(to, 0o750); err != nil {
		return err
	}
	names := []string{filepath.Join(e.dir, ledgerName)}
	names = append(names, journal.Files(e.dir)...)
	for _, name := range names {
		if _, err := disk.CopyFile(filepath.Join(to, filepath.Base(name)), name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	files := e.files
	s.mu.Unlock()
	for _, q := range files {
		snapshot, err := q.Snapshot()
		if err != nil {
			return err
		}
		b.queues = append(b.queues, queueCopy{filepath.Join(to, filepath.Base(q.Name())), snapshot})
	}
	return nil
}

// copySparse creates a sparse file named to that has the same size as from.
func copySparse(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(out.Truncate(info.Size()), out.Close())
}

// Finish writes the queues. Ledgers and journals are not synced yet: the caller syncs the filesystem or every file.
func (b *Backup) Finish(ctx context.Context) error {
	for _, q := range b.queues {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := q.from.WriteFile(q.to); err != nil {
			return fmt.Errorf("copy the queue to %s: %w", q.to, err)
		}
		if err := disk.SyncDir(filepath.Dir(q.to)); err != nil {
			return err
		}
	}
	return nil
}

// Close releases the resources of the copy. It may be called more than once.
func (b *Backup) Close() error {
	var errs []error
	for _, q := range b.queues {
		errs = append(errs, q.from.Close())
	}
	b.queues = nil
	return errors.Join(errs...)
}

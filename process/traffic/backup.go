package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/disk"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/spool"
)

// backup copies the data directory while it is in use. The copy has the state of the directory at one moment ([ADR 111]). The folder has
// a different name until it is complete.
//
// [ADR 111]: docs/adr/0111-backup.md
type backup struct {
	spool   *spool.Set
	admin   *admin.Server
	log     *slog.Logger
	current func() *configs.Config
}

// run handles POST /-/backup.
func (k *backup) run(ctx context.Context, body []byte) (any, error) {
	var o admin.BackupOrder
	err := query.DecodeBody(body, &o)
	if err == nil {
		err = k.refuse(o.Dir)
	}
	if err != nil {
		return nil, &admin.BooksError{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	started := time.Now()
	answer, err := k.create(ctx, filepath.Clean(o.Dir))
	if err != nil {
		k.log.Error("the backup failed; the incomplete copy was removed", "dir", o.Dir, "error", err)
		return nil, err
	}
	k.log.Info("backup complete", "dir", answer.Dir, "at", answer.At, "store_bytes", answer.StoreBytes, "archive_files", answer.Objects,
		"took", time.Since(started).Round(time.Millisecond).String())
	return answer, nil
}

// refuse returns an error that says why a backup cannot be made in this folder, or nil if it can.
func (k *backup) refuse(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("the directory of the backup must be an absolute path, not %q", dir)
	}
	data, err := filepath.Abs(k.current().Data.Dir)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(data, dir); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return fmt.Errorf("%s is in the data directory: name a directory outside it, preferably on another disk", dir)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s already exists: name a new directory for the backup", dir))
	}
	return nil
}

// create makes the backup in a folder that has a marker and a different name, and renames the folder when everything is on the disk.
func (k *backup) create(ctx context.Context, dir string) (answer *admin.BackupAnswer, err error) {
	partial := dir + datadir.IncompleteSuffix
	if err := datadir.RemoveIncomplete(partial); err != nil {
		return nil, err
	}
	if err := datadir.CreateIncomplete(partial); err != nil {
		return nil, fmt.Errorf("begin the backup: %w; name a directory in a place where wayside (uid %d) may write", err, os.Getuid())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, datadir.RemoveIncomplete(partial))
		}
	}()
	if answer, err = k.books(ctx, partial); err != nil {
		return nil, err
	}
	crash.Point("backup.copied")
	if err := k.others(ctx, partial, answer); err != nil {
		return nil, fmt.Errorf("copy the files beside the store: %w", err)
	}
	if err := errors.Join(disk.SyncFilesystem(partial), disk.SyncDir(partial)); err != nil {
		return nil, err
	}
	crash.Point("backup.rename.before")
	answer.Dir = dir
	return answer, datadir.Complete(partial, dir)
}

// books copies the spools and the store, with their state at one moment.
func (k *backup) books(ctx context.Context, partial string) (*admin.BackupAnswer, error) {
	if _, err := k.admin.PostBooks(ctx, admin.PathBackup+"begin", nil); err != nil {
		return nil, fmt.Errorf("pause the applying of events: %w", err)
	}
	crash.Point("backup.begun")
	at := time.Now()
	spools, err := k.spool.BeginBackup(ctx, filepath.Join(partial, datadir.SpoolDir))
	if err != nil {
		_, cancelErr := k.admin.PostBooks(context.WithoutCancel(ctx), admin.PathBackup+"cancel", nil)
		return nil, errors.Join(err, cancelErr)
	}
	defer func() { _ = spools.Close() }()
	crash.Point("backup.spools")
	order, err := json.Marshal(admin.BackupOrder{Dir: filepath.Join(partial, datadir.StoreDir)})
	if err != nil {
		return nil, err
	}
	reply, err := k.admin.PostBooks(ctx, admin.PathBackup+"write", order)
	if err != nil {
		return nil, fmt.Errorf("copy the store: %w", err)
	}
	answer := &admin.BackupAnswer{}
	if err := json.Unmarshal(reply, answer); err != nil {
		return nil, err
	}
	answer.At = at.UTC().Format(time.RFC3339Nano)
	return answer, spools.Finish(ctx)
}

// others copies everything else: the archive, if it is in the data directory, and small files.
func (k *backup) others(ctx context.Context, partial string, answer *admin.BackupAnswer) error {
	cfg := k.current()
	data, err := filepath.Abs(cfg.Data.Dir)
	if err != nil {
		return err
	}
	answer.ArchiveIs = cfg.ArchiveURL()
	names := []string{datadir.ConfigFile, datadir.StickyKey, datadir.ACME, datadir.Quarantine}
	if local := cfg.LocalArchive(); local != "" {
		inside, err := filepath.Rel(data, local)
		if err == nil && inside == datadir.ArchiveDir {
			answer.ArchiveCopy = true
		}
	}
	for _, name := range names {
		if _, err := disk.CopyTree(ctx, filepath.Join(partial, name), filepath.Join(data, name), false); err != nil {
			return err
		}
	}
	if answer.ArchiveCopy { // archive files are replaced but never changed, so they can be hard links
		answer.Objects, err = disk.CopyTree(ctx, filepath.Join(partial, datadir.ArchiveDir), filepath.Join(data, datadir.ArchiveDir), true)
	}
	return err
}

package books

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/query"
)

// A backup has three steps. First, begin stops the drain loop and begins a copy of the store. Then the traffic process begins the copies
// of its spools; nothing in them can have been acknowledged since the first step. Finally, write resumes the drain loop and writes the
// copy of the store. cancel undoes the first step. If the traffic process does not continue in time, the drain loop resumes, and the
// backup fails.

// backupHold limits how long the drain loop may be stopped. During this time, new events wait in the spools.
const backupHold = time.Minute

// backup is the backup in progress.
type backup struct {
	mu     sync.Mutex
	copy   *store.Copy // nil if no backup is in progress
	resume func()      // resumes the drain loop; nil if the loop is not stopped
	expire *time.Timer
	writes bool // write is running
}

var errNoBackup = errors.New("no backup is in progress, or it was abandoned because it made no progress for too long; nothing is lost: try again")

// begin stops the drain loop and begins a copy of the store.
func (k *backup) begin(b *books) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.copy != nil {
		return errors.New("another backup is in progress")
	}
	resume := b.collector.Hold()
	c, err := b.store.BeginCopy()
	if err != nil {
		resume()
		return err
	}
	k.copy, k.resume = c, resume
	k.expire = time.AfterFunc(backupHold, func() {
		b.log.Warn("abandoned a backup that no longer made progress; the books process resumes applying events")
		k.cancel()
	})
	return nil
}

// resumeLocked resumes the drain loop.
func (k *backup) resumeLocked() {
	if k.resume != nil {
		k.expire.Stop()
		k.resume()
		k.resume = nil
	}
}

// cancel abandons a backup that is not being written yet.
func (k *backup) cancel() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.copy == nil || k.writes {
		return
	}
	k.resumeLocked()
	k.copy.Close()
	k.copy = nil
}

// write resumes the drain loop and writes the copy of the store.
func (k *backup) write(ctx context.Context, dir string) (bytes int64, err error) {
	k.mu.Lock()
	if k.copy == nil || k.writes {
		k.mu.Unlock()
		return 0, errNoBackup
	}
	k.resumeLocked()
	k.writes = true
	c := k.copy
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		c.Close()
		k.copy, k.writes = nil, false
	}()
	bytes, err = c.Write(ctx, dir)
	return bytes, err
}

// serveBackup performs one step of a backup, requested by the traffic process.
func (b *books) serveBackup(w http.ResponseWriter, r *http.Request) {
	switch step := r.PathValue("step"); step {
	case "begin":
		if err := b.backup.begin(b); err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		reply(w, struct{}{}, nil)
	case "cancel":
		b.backup.cancel()
		reply(w, struct{}{}, nil)
	case "write":
		body, err := io.ReadAll(r.Body)
		var o admin.BackupOrder
		if err == nil {
			err = query.DecodeBody(body, &o)
		}
		if err == nil && !filepath.IsAbs(o.Dir) {
			err = fmt.Errorf("%q is not an absolute path", o.Dir)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		bytes, err := b.backup.write(r.Context(), o.Dir)
		reply(w, admin.BackupAnswer{Dir: o.Dir, StoreBytes: bytes}, err)
	default:
		refuse(w, http.StatusNotFound, fmt.Errorf("unknown step %q", step))
	}
}

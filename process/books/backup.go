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

// A backup has three steps, of which the traffic process carries out the second: begin stops the drain loop and takes the content of the
// store; the traffic process takes the content of its spools, from which nothing can have been acknowledged meanwhile; write continues the
// drain loop and writes the store. cancel gives all of it back. If the traffic process does not go on in time, the drain loop continues, and
// the backup fails.

// backupHold bounds how long the drain loop may stand still. The spools hold new events meanwhile.
const backupHold = time.Minute

// backup is the backup in progress.
type backup struct {
	mu     sync.Mutex
	copy   *store.Copy // nil: none
	resume func()      // continues the drain loop; nil: it has continued
	expire *time.Timer
	writes bool // write is running
}

var errNoBackup = errors.New("no backup was begun, or it took too long to go on; nothing is lost: try again")

// begin stops the drain loop and takes the content of the store.
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
		b.log.Warn("a backup was begun and did not go on; it was given up, and events are applied again")
		k.cancel()
	})
	return nil
}

// resumeLocked continues the drain loop.
func (k *backup) resumeLocked() {
	if k.resume != nil {
		k.expire.Stop()
		k.resume()
		k.resume = nil
	}
}

// cancel gives up a backup that is not being written.
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

// write continues the drain loop and writes the store.
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
			err = fmt.Errorf("%q is not absolute", o.Dir)
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

package books

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/query"
)

// ForgetFunc forgets paths or, in a dry run, counts what it would forget.
type ForgetFunc func(context.Context, admin.ForgetOrder) (*admin.ForgetAnswer, error)

// Selection returns the selection of an order. The selection's Check method reports whether the order can be carried out.
func Selection(o *admin.ForgetOrder) *paths.Selection {
	return &paths.Selection{Path: o.Path, Host: o.Host, Method: o.Method}
}

// forget removes paths from the books while no job is running, and then has the affected archive objects rewritten.
func (b *books) forget(ctx context.Context, o admin.ForgetOrder) (*admin.ForgetAnswer, error) {
	answer := &admin.ForgetAnswer{}
	err := b.uploader.Alone(ctx, func() error {
		done, err := b.collector.Forget(ctx, collector.ForgetOptions{Selection: *Selection(&o), Reopen: o.Archive, Count: o.Count})
		if done != nil {
			answer.Forgotten = *done
		}
		if errors.Is(err, store.ErrNotExpunged) {
			answer.Left = append(answer.Left, "the files of the store, in parts that are no longer read: call forget again in a moment")
			err = nil
		}
		return err
	})
	if err != nil || o.Count {
		return answer, err
	}
	if b.store.RefillDue() {
		answer.Left = append(answer.Left, "the archive: older hours are being refilled from it, which may bring the paths back: call forget again after the refill")
	}
	if entries, _ := os.ReadDir(filepath.Join(b.cfg.Data.Dir, datadir.Quarantine)); len(entries) > 0 {
		answer.Left = append(answer.Left, fmt.Sprintf("%d entries in the quarantine, which forget does not read: %s", len(entries),
			filepath.Join(b.cfg.Data.Dir, datadir.Quarantine)))
	}
	reopened := 0
	for _, object := range answer.Objects {
		if object.Holds == "reopened" {
			reopened++
		}
	}
	if reopened > 0 {
		if _, err := b.uploader.ArchiveOnce(ctx, false); err != nil {
			answer.Left = append(answer.Left, fmt.Sprintf("%d objects in the archive, until the archive job has rewritten them: %v", reopened, err))
		}
	}
	return answer, nil
}

// serveForget handles a forget order from the traffic process.
func (b *books) serveForget(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var o admin.ForgetOrder
	if err == nil {
		err = query.DecodeBody(body, &o)
	}
	if err == nil {
		err = Selection(&o).Check()
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	answer, err := b.forget(r.Context(), o)
	reply(w, answer, err)
}

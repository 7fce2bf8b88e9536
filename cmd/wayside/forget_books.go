package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/spool"
)

// pathForgetBooks is where the books process takes the order from the traffic process.
const pathForgetBooks = admin.InternalPrefix + "forget"

// forgetOrder is the body of POST /-/forget.
type forgetOrder struct {
	Path    string `json:"path"`
	Host    string `json:"host,omitempty"`
	Method  string `json:"method,omitempty"`
	Archive bool   `json:"archive,omitempty"` // write objects again whose events are still held
	Count   bool   `json:"dry_run,omitempty"`
}

func (o *forgetOrder) selection() *paths.Selection {
	return &paths.Selection{Path: o.Path, Host: o.Host, Method: o.Method}
}

// forgetAnswer is what was, or would be, forgotten.
type forgetAnswer struct {
	store.Forgotten
	Left []string `json:"left,omitempty"` // where it may still be, in words
}

type forgetFunc func(context.Context, forgetOrder) (*forgetAnswer, error)

// forget removes paths from the books, while no job of the archive runs, and then has the archive's objects written again.
func (b *books) forget(ctx context.Context, o forgetOrder) (*forgetAnswer, error) {
	answer := &forgetAnswer{}
	err := b.uploader.Alone(ctx, func() error {
		done, err := b.collector.Forget(ctx, collector.ForgetOptions{Selection: *o.selection(), Reopen: o.Archive, Count: o.Count})
		if done != nil {
			answer.Forgotten = *done
		}
		if errors.Is(err, store.ErrNotExpunged) {
			answer.Left = append(answer.Left, "the files of the store, where nothing reads it any more: call forget again in a moment")
			err = nil
		}
		return err
	})
	if err != nil || o.Count {
		return answer, err
	}
	if entries, _ := os.ReadDir(filepath.Join(b.cfg.Data.Dir, datadir.Quarantine)); len(entries) > 0 {
		answer.Left = append(answer.Left, fmt.Sprintf("%d entries of the quarantine are not looked at: %s", len(entries),
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
			answer.Left = append(answer.Left, fmt.Sprintf("%d objects of the archive, until the archive job has written them again: %v", reopened, err))
		}
	}
	return answer, nil
}

// serveForget answers the traffic process.
func (b *books) serveForget(w http.ResponseWriter, r *http.Request) {
	var o forgetOrder
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		replyStatus(w, http.StatusBadRequest, errors.New("the body is not the JSON of an order to forget"))
		return
	}
	if err := o.selection().Check(); err != nil {
		replyStatus(w, http.StatusBadRequest, err)
		return
	}
	answer, err := b.forget(r.Context(), o)
	reply(w, answer, err)
}

func replyStatus(w http.ResponseWriter, status int, err error) {
	body, _ := json.Marshal(map[string]string{"error": err.Error()}) // a map of strings
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is its own affair
}

// scrubWait bounds how long the spool's files may take to be drained and replaced.
const scrubWait = 20 * time.Second

// forget answers POST /-/forget: the books process forgets, then this process scrubs its spool.
func (t *traffic) forget(ctx context.Context, body []byte) (any, error) {
	told, err := t.admin.TellBooks(ctx, pathForgetBooks, body)
	if err != nil {
		return nil, err
	}
	var o forgetOrder
	var answer forgetAnswer
	if err := errors.Join(json.Unmarshal(body, &o), json.Unmarshal(told, &answer)); err != nil {
		return nil, err
	}
	if o.Count {
		return answer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, scrubWait)
	defer cancel()
	if err := t.spool.Scrub(ctx); err != nil {
		t.log.Warn("the spool was not scrubbed after paths were forgotten", "error", err)
		answer.Left = append(answer.Left, "the files of the spool, until they are used again: call forget again in a moment ("+err.Error()+")")
	}
	if t.cfg.Log.Access {
		answer.Left = append(answer.Left, "the access log, which wayside writes and does not keep")
	}
	return answer, nil
}

// With paths.raw: off the spool is scrubbed every scrubInterval, for at most scrubTime, and at the end: it holds paths only
// until the books process has found their template.
const (
	scrubInterval = 10 * time.Minute
	scrubTime     = 3 * time.Second
)

// keepScrubbed scrubs the spool now and then until ctx is done.
func (t *traffic) keepScrubbed(ctx context.Context) error {
	tick := time.NewTicker(scrubInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.scrubPaths(ctx)
		}
	}
}

func (t *traffic) scrubPaths(ctx context.Context) {
	if t.now.Load().Paths.Raw != "off" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	if err := t.spool.Scrub(ctx); err != nil {
		t.log.Info("files of the spool keep paths that were taken from it for now", "error", err)
	}
}

// forgetHere opens the books of a data directory that nobody uses, and applies what its spools still hold. done closes them.
func forgetHere(ctx context.Context, cfg *configs.Config, log *slog.Logger) (do forgetFunc, done func() error, err error) {
	if _, err := os.Stat(cfg.Data.Dir); err != nil {
		return nil, nil, fmt.Errorf("data directory: %w", err)
	}
	if err := datadir.CheckUser(cfg.Data.Dir); err != nil {
		return nil, nil, err
	}
	var undo []func() error
	done = func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, done())
		}
	}()
	for _, name := range []string{datadir.RunLock, datadir.CollectLock} {
		lock, err := datadir.Acquire(cfg.Data.Dir, name)
		if err != nil {
			return nil, done, err
		}
		undo = append(undo, lock.Release)
	}
	set, err := spool.Open(spool.Options{
		Dir: filepath.Join(cfg.Data.Dir, datadir.SpoolDir), QuarantineDir: filepath.Join(cfg.Data.Dir, datadir.Quarantine),
		SegmentBytes: cfg.Spool.SegmentBytes.Int(), Segments: cfg.Spool.Segments, QueueBytesMax: cfg.Spool.BytesMax.Int64(),
		OnPublish: func(string, []byte) error { return nil }, Logger: log,
	})
	if err != nil {
		return nil, done, err
	}
	undo = append(undo, set.Close)
	b, err := openBooks(ctx, cfg, set, log)
	if err != nil {
		return nil, done, err
	}
	undo = append(undo, b.close)
	return b.forget, done, b.collector.Drain(ctx)
}

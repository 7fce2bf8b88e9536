package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/link"
	"github.com/wayside-proxy/wayside/internal/logsink"
	"github.com/wayside-proxy/wayside/spool"
)

func newArchiveServe() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Answer queries on a restored data directory, without changing anything in it",
		Long: "serve opens the dashboard and the API on a data directory that no wayside is using: one that archive restore or\n" +
			"archive rebuild made, or one whose wayside has stopped. It works on a copy of the store whose tables are links, carries\n" +
			"no traffic, drains, archives and deletes nothing, and answers until Ctrl-C.",
		Example: "wayside archive serve --data ./november-20 --admin 127.0.0.1:8099", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd)
			defer cancel()
			cfg, err := f.load(cmd)
			if err != nil {
				return err
			}
			return serveReadOnly(ctx, cfg, cmd)
		},
	}
	f.bind(cmd, "data", "archive", "admin", "service", "instance", "log-level", "log-format")
	return cmd
}

func serveReadOnly(ctx context.Context, cfg *configs.Config, cmd *cobra.Command) (err error) {
	log := logsink.Logger(cmd.ErrOrStderr(), cfg.Log.Level, cfg.Log.Format, "serve")
	b, done, err := openReadOnly(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if err := b.collector.Drain(ctx); err != nil { // of nothing: makes the snapshot
		return err
	}
	dialer, end, err := answerReads(b)
	if err != nil {
		return err
	}
	defer end()
	ln, err := net.Listen("tcp", cfg.Admin.Listen)
	if err != nil {
		return fmt.Errorf("listen for the dashboard: %w; name another address with --admin", err)
	}
	front := admin.New(admin.Options{
		Token: string(cfg.Admin.Token), Hosts: cfg.Admin.Hosts, Snapshots: answersOf(b.collector.Snapshots()),
		Gatherer: prometheus.NewRegistry(), Logger: log,
		Reload: func() (any, error) { return nil, errors.New("nothing to reload: this is wayside archive serve") },
		Accounting: func(ctx context.Context) (any, error) {
			view, err := b.collector.View(ctx)
			return accounting.Answer{Accounting: accounting.Account(nil, &view), Books: "read only"}, err
		},
	})
	front.SetBooks(dialer)
	front.SetReady(true)
	fmt.Fprintf(cmd.OutOrStdout(), "%s, read only: http://%s/ (Ctrl-C ends)\n", cfg.Data.Dir, ln.Addr())
	return front.Serve(ctx, ln, time.Second)
}

// openCopy opens a copy of the store that nobody uses, to read it: opening the store itself would change it. done closes and removes the
// copy. The error wraps [datadir.ErrInUse] if a books process has the directory, and [store.ErrDamaged].
func openCopy(dir string, log *slog.Logger) (s *store.Store, done func() error, err error) {
	at, held, err := copyStore(dir)
	remove := func() error { return errors.Join(os.RemoveAll(at), held.Close()) }
	if held == nil {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	s, err = store.Open(store.Options{
		Dir: filepath.Join(at, datadir.StoreDir), QuarantineDir: filepath.Join(at, datadir.Quarantine), ReserveBytes: -1, Logger: log,
		RefuseDamaged: true,
	})
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("nothing can be answered from %s, and nothing was changed: %w; "+
			"start wayside on it, which sets the store aside and carries over what of it is right, or make it anew: wayside archive rebuild", dir, err)
	}
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return s, func() error { return errors.Join(s.Close(), remove()) }, nil
}

// copyStore clones the store while nobody uses it, into the data directory, where tables can be links and which is the only place
// that wayside ever writes to. What it has begun is at, also with an error, if held is not nil: it is this process's until that is closed.
func copyStore(dir string) (at string, held *os.File, err error) {
	from := filepath.Join(dir, datadir.StoreDir)
	if _, err := os.Stat(from); err != nil {
		return "", nil, fmt.Errorf("no store to answer from: %w; name a data directory with --data", err)
	}
	lock, err := datadir.Acquire(dir, datadir.CollectLock)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return "", nil, err
	}
	if err == nil {
		defer func() { _ = lock.Release() }()
	}
	if at, held, err = datadir.ServeCopy(dir); err != nil {
		return "", nil, fmt.Errorf("copy the store to answer from the copy: %w; make %s writable, or copy it to a place that is", err, dir)
	}
	return at, held, store.Clone(filepath.Join(at, datadir.StoreDir), from)
}

// openReadOnly opens books on a copied store, with nothing to drain. Nothing of it is run. done closes them.
func openReadOnly(ctx context.Context, cfg *configs.Config, log *slog.Logger) (b *books, done func() error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	s, done, err := openCopy(cfg.Data.Dir, log)
	if errors.Is(err, datadir.ErrInUse) {
		err = fmt.Errorf("%w; its own dashboard answers", err)
	}
	if err != nil {
		return nil, nil, err
	}
	b = &books{cfg: cfg, log: log, store: s}
	b.uploader, err = b.newUploader(ctx)
	var labeler *paths.Labeler
	if err == nil {
		labeler, err = newLabeler(cfg)
	}
	if err == nil {
		b.collector, err = collector.New(collector.Options{
			Source: nothing{}, Store: s, Labeler: labeler, SnapshotWindow: cfg.Collector.Snapshot.Window.Std(), DataDir: cfg.Data.Dir,
			ArchiveDir: cfg.LocalArchive(), Logger: quiet,
		})
	}
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return b, done, nil
}

// answerReads serves the books' handler within this process, for reading only, to the dialer that it returns.
func answerReads(b *books) (dialer *link.Dialer, end func(), err error) {
	near, far, err := link.Pair("books")
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.FileConn(far)
	_ = far.Close() // FileConn has its own duplicate
	if err == nil {
		dialer, err = link.NewDialer(near)
	}
	var listener *link.Listener
	if err == nil {
		listener, err = link.NewListener(conn)
	}
	if err != nil {
		_ = near.Close()
		return nil, nil, err
	}
	handler := b.handler()
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "read only: this is wayside archive serve", http.StatusMethodNotAllowed)
			return
		}
		handler.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(api.BoundWrites(listener)) }()
	return dialer, func() { _ = server.Close(); _ = near.Close() }, nil
}

// nothing is a source without events.
type nothing struct{}

func (nothing) Peek(context.Context, spool.PeekOptions) ([]event.Batch, error) { return nil, nil }
func (nothing) Ack(context.Context, uuid.UUID, uint64) error                   { return nil }
func (nothing) Ledgers(context.Context, map[uuid.UUID]uint64) ([]spool.Ledger, error) {
	return nil, nil
}

func (nothing) Settle(context.Context, uuid.UUID, uint64, uint64) (uint64, error) { return 0, nil }
func (nothing) Retire(context.Context, uuid.UUID) error                           { return nil }
func (nothing) Publish(context.Context, string, []byte) error                     { return nil }

package books

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/accounting"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/link"
	"github.com/wayside-proxy/wayside/spool"
)

// Serve serves the API and the dashboard for a data directory that no wayside is using, from a copy of its store, until ctx is done. It writes
// its address to out.
func Serve(ctx context.Context, cfg *configs.Config, log *slog.Logger, out io.Writer) (err error) {
	b, done, err := openReadOnly(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if err := b.collector.Drain(ctx); err != nil { // there is nothing to drain, but Drain also publishes a snapshot
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
	server := admin.New(admin.Options{
		Token: string(cfg.Admin.Token), Hosts: cfg.Admin.Hosts, Snapshots: b.collector.Snapshots().Serve,
		Gatherer: prometheus.NewRegistry(), Logger: log,
		Reload: func() (any, error) { return nil, errors.New("nothing to reload: this is wayside archive serve") },
		Accounting: func(ctx context.Context) (any, error) {
			view, err := b.collector.View(ctx)
			return accounting.Answer{Accounting: accounting.Account(nil, &view), Books: "read only"}, err
		},
	})
	server.SetBooks(dialer)
	server.SetReady(true)
	fmt.Fprintf(out, "%s, read only: http://%s/ (Ctrl-C ends)\n", cfg.Data.Dir, ln.Addr())
	return server.Serve(ctx, ln, time.Second)
}

// openReadOnly opens the books on a copy of the store, without a source. It starts nothing. done closes the books.
func openReadOnly(ctx context.Context, cfg *configs.Config, log *slog.Logger) (b *books, done func() error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	s, done, err := OpenCopy(cfg.Data.Dir, log)
	if errors.Is(err, datadir.ErrInUse) {
		err = fmt.Errorf("%w; use its own dashboard", err)
	}
	if err != nil {
		return nil, nil, err
	}
	b = &books{cfg: cfg, log: log, store: s}
	b.uploader, err = b.newUploader(ctx)
	var labeler *paths.Labeler
	if err == nil {
		labeler, err = NewLabeler(cfg)
	}
	if err == nil {
		b.collector, err = collector.New(collector.Options{
			Source: emptySource{}, Store: s, Labeler: labeler, SnapshotWindow: cfg.Collector.Snapshot.Window.Std(), DataDir: cfg.Data.Dir,
			ArchiveDir: cfg.LocalArchive(), Logger: quiet,
		})
	}
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return b, done, nil
}

// answerReads serves the books' handler, read-only, within this process. Requests reach it through the dialer that it returns.
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
	relay := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "read only: this is wayside archive serve", http.StatusMethodNotAllowed)
			return
		}
		handler.ServeHTTP(w, r)
	})}
	go func() { _ = relay.Serve(api.BoundWrites(listener)) }()
	return dialer, func() { _ = relay.Close(); _ = near.Close() }, nil
}

// emptySource is a source without events.
type emptySource struct{}

func (emptySource) Peek(context.Context, spool.PeekOptions) ([]event.Batch, error) { return nil, nil }
func (emptySource) Ack(context.Context, uuid.UUID, uint64) error                   { return nil }
func (emptySource) Ledgers(context.Context, map[uuid.UUID]uint64) ([]spool.Ledger, error) {
	return nil, nil
}

func (emptySource) Reconcile(context.Context, uuid.UUID, uint64, uint64) (uint64, error) {
	return 0, nil
}
func (emptySource) Retire(context.Context, uuid.UUID) error       { return nil }
func (emptySource) Publish(context.Context, string, []byte) error { return nil }
func (emptySource) Fetch(context.Context, string) ([]byte, error) {
	return nil, errors.New("nothing to fetch")
}

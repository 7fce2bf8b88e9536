package books

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/internal/admin"
)

// run keeps the books until the traffic process goes away, which ends listener, or ctx is done, in which case everything
// is drained and archived first.
func (b *books) run(ctx context.Context, listener net.Listener) error {
	loops, stopLoops := context.WithCancel(ctx)
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	b.stopLoops = stopLoops
	b.loops.Go(func() {
		if err := b.collector.Run(loops); err != nil {
			// The store must be opened again, which a new process does best: leaving makes the parent start one.
			b.ended("drain loop", err)
			_ = listener.Close()
		}
	})
	b.loops.Go(func() { b.ended("archive loop", b.uploader.Run(loops)) })
	var checkpoints sync.WaitGroup
	checkpoints.Go(func() { b.ended("look at the catalogue", b.logFormerArchives(background)) })
	checkpoints.Go(func() { b.ended("checkpoint loop", b.store.Run(background)) })

	server := &http.Server{Handler: b.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(api.BoundWrites(listener)) }()
	select {
	case err := <-served:
		if errors.Is(err, net.ErrClosed) {
			b.log.Info("leaving: the traffic process has closed its connection")
		} else {
			b.log.Warn("leaving: the connection to the traffic process failed", "error", err)
		}
	case <-ctx.Done():
		timeout, cancel := context.WithTimeout(context.Background(), b.cfg.Shutdown.Timeout.Std())
		defer cancel()
		done := b.finish(timeout)
		b.log.Info("stopped", done.Attrs()...)
	}
	stopLoops()
	b.loops.Wait()
	_ = server.Close()
	stopBackground()
	checkpoints.Wait()
	return nil
}

func (b *books) ended(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		b.log.Error(what+" ended", "error", err)
	}
}

func (b *books) close() error { return b.store.Close() }

// finish drains what the spool still holds and archives everything, the open hour included, as far as ctx lasts.
func (b *books) finish(ctx context.Context) admin.Finished {
	b.stopLoops()
	b.loops.Wait()
	var done admin.Finished
	drainErr := b.collector.Drain(ctx)
	result, archiveErr := b.uploader.Shutdown(ctx)
	done.Archived = result.Rows
	checkpointErr := b.store.Checkpoint()
	totals, totalsErr := b.store.Totals()
	if totalsErr == nil {
		left := totals.Applied - totals.Archived
		done.Unarchived = &left
	}
	if err := errors.Join(drainErr, archiveErr, checkpointErr, totalsErr); err != nil {
		done.Problems = strings.ReplaceAll(err.Error(), "\n", "; ")
		b.log.Warn("not everything could be finished; the rest stays in the data directory", append(done.Attrs(), "error", done.Problems)...)
	}
	return done
}

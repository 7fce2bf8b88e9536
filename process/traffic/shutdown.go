package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
)

// awaitSecond forces the end at a second signal.
func (t *traffic) awaitSecond(signals <-chan os.Signal, force context.CancelCauseFunc) {
	first := time.Now()
	for s := range signals {
		if s == syscall.SIGHUP {
			continue // too late for another configuration
		}
		if time.Since(first) < sameSignal {
			continue
		}
		t.log.Warn("second signal: leaving at once; what was not archived stays in the data directory", "signal", s.String())
		if t.child != nil {
			t.child.ForceStop()
		}
		force(errForced)
		return
	}
}

var errForced = errors.New("second signal")

// sameSignal is the time in which a second signal is taken for the first: what signals a process and then its group, as
// timeout(1) does, sends two at once and means one.
const sameSignal = 20 * time.Millisecond

// shutdown stops in the order that loses nothing: no new traffic, then the last responses, then their events through
// queue, store and archive. All of it ends when forced is done, or so long before shutdown.timeout is over that the books
// process can close its store; three quarters of that later it is waited for no more.
func (t *traffic) shutdown(forced context.Context) {
	timeout := t.now.Load().Shutdown.Timeout.Std()
	toLeave := min(timeout/6, 3*time.Second)
	if t.child != nil {
		time.AfterFunc(timeout-toLeave/4, t.child.ForceStop)
	}
	ctx, cancel := context.WithTimeout(forced, timeout-toLeave)
	defer cancel()
	began := time.Now()
	t.admin.SetReady(false)
	select {
	case <-time.After(t.now.Load().Shutdown.Delay.Std()):
	case <-ctx.Done():
	}
	t.endTraffic(ctx, toLeave)
	if err := t.spool.Flush(ctx); err != nil {
		t.log.Warn("flush spool", "error", err)
	}
	rest := t.finishBooks(ctx)
	t.scrubPaths(ctx)
	t.log.Info("stopped", append([]any{slog.String("took", time.Since(began).Round(time.Millisecond).String())}, rest...)...)
}

// endTraffic lets the requests in flight end, and keeps a third of the time, at most ten seconds, for the books: what is
// recorded has to be drained and archived as well. toLeave, after ctx's deadline, is part of it.
func (t *traffic) endTraffic(ctx context.Context, toLeave time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		keep := max(0, min((time.Until(deadline)+toLeave)/3, 10*time.Second)-toLeave)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-keep))
		defer cancel()
	}
	if err := t.proxy.Shutdown(ctx); err != nil {
		t.log.Warn("requests were still running and have been cut", "error", err)
	}
}

// finishBooks has the books process drain the spool and archive everything, and reports what is left.
func (t *traffic) finishBooks(ctx context.Context) []any {
	body, err := t.admin.AskBooks(ctx, http.MethodPost, admin.PathFinish)
	if err != nil {
		return []any{"left_in_spool", t.spool.Status().PendingEvents, "books", err.Error()}
	}
	var done admin.Finished
	if err := json.Unmarshal(body, &done); err != nil {
		return []any{"books", err.Error()}
	}
	left := []any{"left_in_spool", t.spool.Status().PendingEvents}
	if !t.cfg.Collector.Enabled {
		return left // a books process that is not our child may have finished before, and says so in its own log
	}
	return append(left, done.Attrs()...)
}

package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
)

var errForced = errors.New("second signal")

// sameSignal is the time within which a second signal counts as a repetition of the first. timeout(1), for example, sends a signal to a
// process and then to the process's group.
const sameSignal = 20 * time.Millisecond

// forceOnSecondSignal ends the shutdown immediately when a second signal arrives.
func (t *traffic) forceOnSecondSignal(force context.CancelCauseFunc) {
	first := time.Now()
	for s := range t.opt.Signals {
		if s == syscall.SIGHUP || time.Since(first) < sameSignal { // it is too late to reload
			continue
		}
		t.log.Warn("second signal: stopping immediately; everything that has not been archived stays in the data directory", "signal", s.String())
		if t.child != nil {
			t.child.ForceStop()
		}
		force(errForced)
		return
	}
}

// shutdown stops the process in an order that loses nothing: it rejects new traffic, waits for the last responses, and then waits until
// their events have passed through the queue and the store into the archive. It ends when forced is done, or early enough before the
// end of shutdown.timeout for the books process to close its store. A books process that has not ended after three quarters of that
// time is killed.
func (t *traffic) shutdown(forced context.Context) {
	cfg := t.config.current()
	timeout := cfg.Shutdown.Timeout.Std()
	reserve := min(timeout/6, 3*time.Second)
	if t.child != nil {
		time.AfterFunc(timeout-reserve/4, t.child.ForceStop)
	}
	ctx, cancel := context.WithTimeout(forced, timeout-reserve)
	defer cancel()
	began := time.Now()
	t.admin.SetReady(false)
	sleep(ctx, cfg.Shutdown.Delay.Std())
	t.endTraffic(ctx, reserve)
	if err := t.spool.Flush(ctx); err != nil {
		t.log.Warn("cannot flush the spool; the last events stay in it until the next start", "error", err)
	}
	rest := t.finishBooks(ctx)
	t.eraser.scrub(ctx)
	t.log.Info("stopped", append([]any{slog.String("took", time.Since(began).Round(time.Millisecond).String())}, rest...)...)
}

// endTraffic waits for the requests in progress. It reserves a third of the time, at most ten seconds, for the books, because recorded
// responses must still be drained and archived. reserve is the part of this third that comes after ctx's deadline.
func (t *traffic) endTraffic(ctx context.Context, reserve time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		books := max(0, min((time.Until(deadline)+reserve)/3, 10*time.Second)-reserve)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-books))
		defer cancel()
	}
	if err := t.proxy.Shutdown(ctx); err != nil {
		t.log.Warn("requests were still in progress and have been cut off", "error", err)
	}
}

// finishBooks makes the books process drain the spool and archive everything. It returns log attributes that describe the remaining
// responses.
func (t *traffic) finishBooks(ctx context.Context) []any {
	body, err := t.admin.AskBooks(ctx, http.MethodPost, admin.PathFinish)
	left := []any{"left_in_spool", t.spool.Status().PendingEvents}
	if err != nil {
		return append(left, "books", err.Error())
	}
	var done admin.Finished
	if err := json.Unmarshal(body, &done); err != nil {
		return []any{"books", err.Error()}
	}
	if t.child == nil {
		return left // a books process that was started by hand may already have ended; its own log has the figures
	}
	return append(left, done.Attrs()...)
}

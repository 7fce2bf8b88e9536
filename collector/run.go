package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/spool"
)

// Waits between attempts when the source or the store is away.
const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 15 * time.Second
	// idleMin keeps the loop from spinning on a source that does not wait.
	idleMin = 10 * time.Millisecond
)

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = retryFirst
	b.MaxInterval = retryMax
	return b
}

// Run drains until the context ends, and then returns nil. Failures are retried with growing waits for as long as they last
// and show in Status, metrics and log. Only a store that must be opened again ([store.ErrFailed], [store.ErrClosed]) ends
// Run with an error.
func (c *Collector) Run(ctx context.Context) error {
	retry := newBackOff()
	c.upkeep(ctx, true)
	for ctx.Err() == nil {
		started := time.Now()
		d, err := c.DrainOnce(ctx)
		c.upkeep(ctx, false)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			retry.Reset()
			c.setState(stateRunning)
			if d.Idle() && time.Since(started) < idleMin {
				wait(ctx, idleMin)
			}
		case errors.Is(err, ErrPaused):
			c.setState(err.Error())
			wait(ctx, c.o.GuardInterval)
		case mustReopen(err):
			return err
		default:
			c.setState(stateOf(err))
			c.metrics.retries.Inc()
			wait(ctx, retry.NextBackOff())
		}
	}
	return nil
}

// stateOf is the state that an error of the source or the store means.
func stateOf(err error) string {
	if errors.Is(err, spool.ErrDisconnected) {
		return stateAway
	}
	return "unavailable: " + err.Error()
}

func mustReopen(err error) bool {
	return errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrClosed)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// drainRetries is how often Drain looks again when the ledgers say that responses are left but Peek yields none.
const drainRetries = 50

// Drain applies everything that is pending, publishes a last snapshot and retires what is finished: the end of a shutdown,
// after the spool was flushed. It returns nil once nothing is left, and otherwise says what is.
func (c *Collector) Drain(ctx context.Context) error {
	retry := newBackOff()
	for empty := 0; ; {
		d, err := c.step(ctx, spool.PeekOptions{MinEvents: 1, MaxBytes: c.o.PeekBytesMax, MaxWait: idleMin})
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("drain: %w", context.Cause(ctx))
		case errors.Is(err, ErrPaused), mustReopen(err):
			return fmt.Errorf("drain: %w", err)
		case err != nil:
			c.setState(stateOf(err))
			wait(ctx, retry.NextBackOff())
			continue
		case !d.Idle():
			empty = 0
			continue
		}
		left, err := c.spooled(ctx)
		if err == nil && left == 0 {
			break
		}
		if empty++; empty > drainRetries {
			return errors.Join(fmt.Errorf("drain: %d responses are left in the spool", left), err)
		}
		wait(ctx, idleMin)
	}
	c.setState(stateRunning)
	c.upkeep(ctx, true)
	return nil
}

// spooled is the number of responses that are held by the spools and not applied.
func (c *Collector) spooled(ctx context.Context) (uint64, error) {
	ledgers, err := c.o.Source.Ledgers(ctx, c.o.Store.Watermarks())
	if err != nil {
		return 0, sourceError(ctx, "read ledgers", err)
	}
	left := uint64(0)
	for i := range ledgers {
		left += ledgers[i].Spooled
	}
	return left, nil
}

// readyInterval is how often the figures are compared until a refill may begin.
const readyInterval = 500 * time.Millisecond

// upkeep publishes a snapshot and retires epochs, each when due or forced. Failures wait for the next time.
func (c *Collector) upkeep(ctx context.Context, force bool) {
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	c.refreshSnapshot(ctx, force)
	now, interval := c.o.Now(), c.o.RetireInterval
	if !c.ReadyToRefill() {
		interval = min(interval, readyInterval)
	}
	if since := now.Sub(c.retired); !force && since >= 0 && since < interval {
		return
	}
	c.retired = now
	if err := c.reconcile(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("cannot compare the figures of the spool with those of the store; trying again", "error", err)
	}
	if err := c.retireFinished(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("finished epochs stay for now", "error", err)
	}
}

// retireFinished stores the final ledger of every epoch that is closed and fully applied, then lets the source remove it.
// A crash in between leaves both, which Account knows how to read.
func (c *Collector) retireFinished(ctx context.Context) error {
	ledgers, err := c.o.Source.Ledgers(ctx, c.applied)
	if err != nil {
		return sourceError(ctx, "read ledgers", err)
	}
	marks := c.o.Store.Marks()
	var failed error
	for _, l := range ledgers {
		if mark := marks[l.Epoch]; !l.Closed || l.Spooled > 0 || l.Recorded != mark.Applied+mark.Quarantined {
			continue // its figures become final only when they agree with the store's, see reconcile
		}
		final := store.Ledger{
			Epoch: l.Epoch, Responses: l.Responses, Recorded: l.Recorded, Excluded: l.Excluded, Dropped: l.Dropped,
		}
		if err := c.o.Store.SetLedger(final); err != nil {
			return fmt.Errorf("store ledger of epoch %s: %w", l.Epoch, err)
		}
		crash.Point("collector.retire.before")
		err := c.o.Source.Retire(ctx, l.Epoch)
		if errors.Is(err, spool.ErrNotDrained) {
			continue // a drop record is left
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("retire epoch %s: %w", l.Epoch, err))
			continue
		}
		crash.Point("collector.retire.after")
		c.done[l.Epoch] = true
		c.log.Info("epoch finished", "epoch", l.Epoch, "responses", l.Responses, "recorded", l.Recorded)
	}
	return failed
}

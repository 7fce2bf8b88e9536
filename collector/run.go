package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/spool"
)

// Pauses between attempts while the source or the store is unavailable.
const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 15 * time.Second
	// idleMin keeps the loop from spinning if the source does not wait.
	idleMin = 10 * time.Millisecond
)

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = retryFirst
	b.MaxInterval = retryMax
	return b
}

// Run drains until ctx is done, and then returns nil. It retries after errors, with increasing pauses and without a limit; the status,
// the metrics and the log report the errors. It returns an error only if the store must be reopened ([store.ErrFailed],
// [store.ErrClosed]).
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
			wait(ctx, guardInterval)
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

// stateOf returns the state to report after an error of the source or the store.
func stateOf(err error) string {
	if errors.Is(err, spool.ErrDisconnected) {
		return stateDisconnected
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

// drainRetries is the number of times that Drain retries if Peek returns nothing although the ledgers show that responses are left.
const drainRetries = 50

// Drain applies everything that is pending, publishes a final snapshot and retires finished epochs. It is the last step of a shutdown,
// after the spool has been flushed. The error that it returns says how many responses are left.
func (c *Collector) Drain(ctx context.Context) error {
	retry := newBackOff()
	for empty := 0; ; {
		d, err := c.step(ctx, spool.PeekOptions{MinEvents: 1, MaxBytes: peekBytesMax, MaxWait: idleMin})
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

// spooled returns the number of responses in the spools that have not been applied yet.
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

// readyInterval is the time between comparisons of ledgers until a refill may begin.
const readyInterval = 500 * time.Millisecond

// upkeep publishes a snapshot, compares ledgers and retires epochs. It does each of these when it is due, or all of them if force is set.
// After an error, the next call retries.
func (c *Collector) upkeep(ctx context.Context, force bool) {
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	c.publisher.refresh(ctx, c.through(), force)
	now, interval := c.o.Now(), retireInterval
	if !c.ReadyToRefill() {
		interval = min(interval, readyInterval)
	}
	if since := now.Sub(c.compared); !force && since >= 0 && since < interval {
		return
	}
	c.compared = now
	if err := c.compareLedgers(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("cannot compare the ledgers of the spool with the store; trying again", "error", err)
	}
	if err := c.reconciler.retireFinished(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("cannot store the final figures of earlier runs and remove their spool folders; trying again", "error", err)
	}
}

func (c *Collector) compareLedgers(ctx context.Context) error {
	ledgers, err := c.o.Source.Ledgers(ctx, c.o.Store.Watermarks())
	if err != nil {
		return sourceError(ctx, "read ledgers", err)
	}
	c.noteBacklog(ledgers)
	return errors.Join(c.noteRuns(ledgers), c.reconciler.reconcile(ctx, ledgers))
}

// noteRuns records in the store which traffic process is running: the one whose epoch is not closed.
func (c *Collector) noteRuns(ledgers []spool.Ledger) error {
	for i := range ledgers {
		l := &ledgers[i]
		if l.Closed || l.Epoch.Version() != 7 {
			continue
		}
		if err := c.o.Store.NoteRun(l.Epoch, time.Unix(l.Epoch.Time().UnixTime()), c.o.Now()); err != nil {
			return fmt.Errorf("record that epoch %s is running: %w", l.Epoch, err)
		}
	}
	return nil
}

// through returns the watermarks of the epochs that may still get events. All events of the other epochs are already in the rows.
func (c *Collector) through() map[uuid.UUID]uint64 {
	out := make(map[uuid.UUID]uint64)
	for epoch, seq := range c.applied {
		if !c.reconciler.retired[epoch] {
			out[epoch] = seq
		}
	}
	return out
}

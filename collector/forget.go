package collector

import (
	"context"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/spool"
)

// forgetDrainMax limits the time that Forget spends on applying pending events before it starts to remove anything.
const forgetDrainMax = 30 * time.Second

// ForgetOptions select the paths that [Collector.Forget] removes.
type ForgetOptions struct {
	paths.Selection
	// Reopen also allows archive objects to be written again if all of their events are still in the store.
	Reopen bool
	// Count makes Forget only count what it would remove, without changing anything.
	Count bool
}

// Forget removes paths from everything in the books process: rows, events, learned templates, snapshots, and the activity of the last
// half hour. All counts are kept, under "(other)". Forget first applies the events that are in the spools when it is called, so these are
// also forgotten. Later requests for the paths are recorded like any others. The store's files are rewritten and then no longer contain
// the paths either. Until that is done, no event is applied, and new events stay in the spools.
//
// The paths are never logged. After an error, some of them may have been forgotten; another call finishes the rest.
func (c *Collector) Forget(ctx context.Context, o ForgetOptions) (*catalogue.Forgotten, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := c.applyPending(ctx); err != nil {
		return nil, fmt.Errorf("apply the events in the spool before paths are forgotten: %w", err)
	}
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	done, err := c.forget(ctx, o)
	if err != nil || o.Count {
		return done, err
	}
	c.log.Info("paths were forgotten; their counts are now under (other)", "rows", done.Names, "responses", done.Responses,
		"events", done.Events, "archive_objects", len(done.Objects))
	c.metrics.forgotten.Add(float64(done.Events))
	c.publisher.replaceAll(ctx, c.through())
	if err := c.reconciler.retireFinished(ctx); err != nil {
		c.log.Warn("cannot store the final figures of earlier runs and remove their spool folders; trying again", "error", err)
	}
	return done, c.o.Store.Expunge(ctx)
}

// forget removes the paths from the store, the labeler and memory. The caller holds drainMu.
func (c *Collector) forget(ctx context.Context, o ForgetOptions) (done *catalogue.Forgotten, err error) {
	c.storeMu.Lock()
	defer c.storeMu.Unlock()
	labeler := c.o.Labeler
	rules := labeler.Rules() // the rules before labeler.Forget changes them
	selected := o.Rows(rules)
	f := store.Forget{
		Row:   selected,
		Event: func(host, method string, path []byte) bool { return o.Of(host, method) && o.PathMatches(path) },
		Path:  paths.Forgotten, Reopen: o.Reopen, Count: o.Count,
	}
	labeler.Begin()
	if !o.Count {
		labeler.Forget(&o.Selection)
		f.PathState = stateChanges(labeler)
	}
	if done, err = c.o.Store.Forget(ctx, &f); err != nil {
		labeler.Rollback()
		return nil, err
	}
	labeler.Commit()
	if !o.Count {
		c.live.Forget(selected)
		c.publisher.builder.Reset()
	}
	return done, nil
}

// applyPending applies the events that are in the spools now, but not those that arrive while it runs.
func (c *Collector) applyPending(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, forgetDrainMax)
	defer cancel()
	left, err := c.spooled(ctx)
	if err != nil {
		return err
	}
	for taken := 0; uint64(taken) < left; {
		d, err := c.step(ctx, spool.PeekOptions{MinEvents: 1, MaxBytes: peekBytesMax, MaxWait: idleMin})
		if err != nil {
			return err
		}
		if taken += d.Responses + d.Quarantined + d.Skipped; !d.Idle() {
			continue
		}
		// The drain loop may have applied them in the meantime.
		if now, err := c.spooled(ctx); err != nil || now == 0 {
			return err
		}
		wait(ctx, idleMin)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

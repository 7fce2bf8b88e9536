package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/collector/api/snapshot"
	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/spool"
)

// forgetDrain bounds how long Forget first applies what the spools hold.
const forgetDrain = 30 * time.Second

// forgetter is a Store that can forget; the store is one.
type forgetter interface {
	Forget(ctx context.Context, f *store.Forget) (*catalogue.Forgotten, error)
	Expunge(ctx context.Context) error
}

// ForgetOptions say what [Collector.Forget] is to remove.
type ForgetOptions struct {
	paths.Selection
	// Reopen has the archive's objects written again whose events are still held here.
	Reopen bool
	// Count changes nothing and only counts what would be removed.
	Count bool
}

// Forget removes paths from everything that the books process holds: rows, events, what was learnt about paths, snapshots,
// and what is kept of the last half hour. Every count stays, under "(other)". Events that the spools held when it was called
// are applied first, so that they are forgotten too; what is requested later is recorded like anything else. The files of the
// store are rewritten, so that they do not have it either. Nothing is applied while it works; the spools take what comes.
//
// The paths are never logged. An error may leave a part done; calling Forget again finishes the rest.
func (c *Collector) Forget(ctx context.Context, o ForgetOptions) (*catalogue.Forgotten, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	from, ok := c.o.Store.(forgetter)
	if !ok {
		return nil, errors.New("this store cannot forget")
	}
	if err := c.applyPending(ctx); err != nil {
		return nil, fmt.Errorf("apply what the spool holds, before anything is forgotten: %w", err)
	}
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	done, err := c.forget(ctx, from, o)
	if err != nil || o.Count {
		return done, err
	}
	c.log.Info("paths were forgotten; their counts are under (other) now", "rows", done.Names, "responses", done.Responses,
		"events", done.Events, "archive_objects", len(done.Objects))
	c.metrics.forgotten.Add(float64(done.Events))
	c.pushOut(ctx)
	if err := c.retireFinished(ctx); err != nil {
		c.log.Warn("finished epochs stay for now", "error", err)
	}
	return done, from.Expunge(ctx)
}

// forget removes the paths from store, labels and memory. The caller holds drainMu.
func (c *Collector) forget(ctx context.Context, from forgetter, o ForgetOptions) (done *catalogue.Forgotten, err error) {
	c.booksMu.Lock()
	defer c.booksMu.Unlock()
	labeler := c.o.Labeler
	rules := labeler.Rules() // those by which the tables were shown until now
	selected := o.Rows(rules)
	f := store.Forget{
		Row:   selected,
		Event: func(host, method string, path []byte) bool { return o.Of(host, method) && o.PathMatches(path) },
		Path:  paths.Forgotten, Reopen: o.Reopen, Count: o.Count,
	}
	labeler.Begin()
	if !o.Count {
		labeler.Forget(&o.Selection)
		for _, change := range labeler.Changes() {
			f.PathState = append(f.PathState, store.StateChange{Key: change.Key, Value: change.Value})
		}
	}
	if done, err = from.Forget(ctx, &f); err != nil {
		labeler.Rollback()
		return nil, err
	}
	labeler.Commit()
	if !o.Count {
		c.live.Forget(selected)
		c.builder.Reset()
	}
	return done, nil
}

// applyPending applies what the spools hold at the moment, but not what comes meanwhile.
func (c *Collector) applyPending(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, forgetDrain)
	defer cancel()
	left, err := c.spooled(ctx)
	if err != nil {
		return err
	}
	for taken := 0; uint64(taken) < left; { //nolint:gosec // not negative
		d, err := c.step(ctx, spool.PeekOptions{MinEvents: 1, MaxBytes: c.o.PeekBytesMax, MaxWait: idleMin})
		if err != nil {
			return err
		}
		if taken += d.Responses + d.Quarantined + d.Skipped; !d.Idle() {
			continue
		}
		// The drain loop may have taken them.
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

// pushOut makes and publishes as many snapshots as are kept, so that none of those before is.
func (c *Collector) pushOut(ctx context.Context) {
	for range max(c.o.SnapshotsKept, snapshot.KeepDefault) {
		c.makeSnapshot(ctx, c.o.Now())
		if c.publish.unsent == nil || c.o.Source.Publish(ctx, snapshot.Topic, c.publish.unsent) != nil {
			return // offered again with the next step, and pushed out in time
		}
		c.publish.unsent = nil
	}
}

package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/spool"
)

// Drained is the result of one step.
type Drained struct {
	Epoch       uuid.UUID
	LastSeq     uint64 // events up to this sequence number have been acknowledged
	Events      int    // applied, including drop records
	Responses   int    // applied
	Skipped     int    // events that an earlier step had already applied
	Quarantined int    // events
	Batches     int    // number of transactions
}

// Idle reports whether nothing was pending.
func (d *Drained) Idle() bool { return d.Events+d.Skipped+d.Quarantined == 0 }

// DrainOnce performs one step: Peek, apply, Ack. Options.PeekEvents and PeekWait determine how long it waits for events. After an error,
// the next step gets the same events and skips those that have already been applied. Errors wrap [ErrPaused], [ErrSource],
// [store.ErrUnavailable] or the context's error.
func (c *Collector) DrainOnce(ctx context.Context) (Drained, error) {
	return c.step(ctx, spool.PeekOptions{MinEvents: c.o.PeekEvents, MaxBytes: peekBytesMax, MaxWait: c.o.PeekWait})
}

func (c *Collector) step(ctx context.Context, o spool.PeekOptions) (Drained, error) {
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	if err := c.guard.check(); err != nil {
		return Drained{}, err
	}
	batches, err := c.o.Source.Peek(ctx, o)
	if err != nil {
		return Drained{}, sourceError(ctx, "peek", err)
	}
	crash.Point("collector.peek.after")
	if len(batches) == 0 {
		c.reconciler.idle = true
		c.updateStatus(func(s *Status) { s.Lag = 0 })
		return Drained{}, nil
	}
	d := Drained{Epoch: batches[0].Epoch}
	if err := c.applyAll(ctx, batches, &d); err != nil {
		return d, err
	}
	crash.Point("collector.ack.before")
	if err := c.o.Source.Ack(ctx, d.Epoch, d.LastSeq); err != nil {
		return d, sourceError(ctx, "acknowledge", err)
	}
	crash.Point("collector.ack.after")
	return d, nil
}

// Hold pauses the drain loop between two steps until resume is called. In the meantime, nothing is applied or acknowledged, no epoch is
// retired, and new events stay in the spools.
func (c *Collector) Hold() (resume func()) {
	c.drainMu.Lock()
	return c.drainMu.Unlock
}

func sourceError(ctx context.Context, action string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %s: %w", ErrSource, action, err)
}

// applyAll applies batches in transactions of at most ApplyEventsMax events. The items point into the batches, so applyAll clears the
// items before it returns.
func (c *Collector) applyAll(ctx context.Context, batches []event.Batch, d *Drained) error {
	defer c.dropItems()
	watermark, seen := c.applied[d.Epoch]
	for _, b := range batches {
		if b.Epoch != d.Epoch {
			break // the rest is not acknowledged, so the next Peek returns it again
		}
		for seq, record := range b.All() {
			if seen && seq <= watermark {
				d.Skipped++
				continue
			}
			if err := c.add(seq, record); err != nil {
				err = fmt.Errorf("%w: event %d of epoch %s: %w; run the same version of both processes", ErrSource, seq, d.Epoch, err)
				return cmp.Or(c.applyItems(ctx, d), err)
			}
			if len(c.items) < c.o.ApplyEventsMax {
				continue
			}
			if err := c.applyItems(ctx, d); err != nil {
				return err
			}
		}
		d.LastSeq = b.LastSeq
	}
	return c.applyItems(ctx, d)
}

// add decodes a record into the next item. If the record cannot be decoded, the item's event has kind 0. A record of a newer version is
// returned as an error instead, because it is not damaged. Only the spool of a newer process contains such records.
func (c *Collector) add(seq uint64, record []byte) error {
	if cap(c.items) > len(c.items) {
		c.items = c.items[:len(c.items)+1]
	} else {
		c.items = append(c.items, store.Item{})
	}
	item := &c.items[len(c.items)-1]
	item.Seq, item.Record = seq, record
	err := item.Event.Decode(record)
	if errors.Is(err, event.ErrVersion) {
		c.items = c.items[:len(c.items)-1]
		return err
	}
	if err != nil {
		c.malformed++
	}
	return nil
}

// run is a sequence of items of one epoch, in order.
type run struct {
	epoch uuid.UUID
	items []store.Item
}

func (r run) lastSeq() uint64 { return r.items[len(r.items)-1].Seq }

// applyItems applies the items collected so far, if any, and empties the list.
func (c *Collector) applyItems(ctx context.Context, d *Drained) error {
	if len(c.items) == 0 {
		return nil
	}
	if err := c.applyWithRetry(ctx, run{epoch: d.Epoch, items: c.items}, d); err != nil {
		return err
	}
	c.dropItems()
	return nil
}

// dropItems empties the list of items, and removes their references to the batches: otherwise, the items that the next, smaller run does
// not overwrite would keep several megabytes of old batches in memory.
func (c *Collector) dropItems() {
	clear(c.items)
	c.items, c.malformed = c.items[:0], 0
}

// attemptsMax is the number of attempts to apply a run before it is divided.
const attemptsMax = 3

// applyWithRetry applies a run, or isolates and quarantines the items that cannot be applied (isolate.go). It returns
// an error only if the whole step should be retried later.
func (c *Collector) applyWithRetry(ctx context.Context, r run, d *Drained) error {
	var err error
	for range attemptsMax {
		if err = c.apply(r, d); err == nil {
			return nil
		}
		if temporary(ctx, err) {
			return err
		}
		if errors.Is(err, store.ErrBatchTooLarge) {
			return c.isolate(ctx, r, err, d) // each piece will be small enough for one transaction
		}
		c.metrics.failures.Inc()
	}
	c.log.Error("cannot apply a batch; dividing it to find the events that fail", "epoch", r.epoch, "first_seq", r.items[0].Seq,
		"last_seq", r.lastSeq(), "events", len(r.items), "attempts", attemptsMax, "error", err)
	return c.isolate(ctx, r, err, d)
}

// temporary reports whether an error has a cause other than the events of the run.
func temporary(ctx context.Context, err error) bool {
	return errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil
}

// apply labels and applies a run in one transaction. After an error or a panic, nothing has been applied, and the labeler has been rolled
// back. There is one exception: if the watermark shows that the store applied the run before it failed, apply returns no error.
func (c *Collector) apply(r run, d *Drained) (err error) {
	if c.malformed > 0 {
		if i := firstMalformed(r.items); i >= 0 {
			var e event.Event
			return fmt.Errorf("record %d: %w", r.items[i].Seq, e.Decode(r.items[i].Record))
		}
	}
	c.storeMu.Lock()
	defer c.storeMu.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic while applying: %v", cause)
		}
		if err != nil && c.o.Store.Watermarks()[r.epoch] < r.lastSeq() {
			c.o.Labeler.Rollback()
			return
		}
		if err != nil {
			c.log.Error("the store failed after it had applied a batch; the batch counts as applied", "epoch", r.epoch, "error", err)
			err = nil
		}
		c.finish(r, d)
	}()
	started := time.Now()
	batch := store.Batch{Epoch: r.epoch, LastSeq: r.lastSeq(), Items: r.items, PathState: c.label(r.items)}
	crash.Point("collector.apply.before")
	if err := c.o.Store.Apply(&batch); err != nil {
		return err
	}
	crash.Point("collector.apply.after")
	c.metrics.applySeconds.Observe(time.Since(started).Seconds())
	return nil
}

// label determines the row to which each item belongs, and returns the resulting changes to the labeler's state.
func (c *Collector) label(items []store.Item) []store.StateChange {
	labeler := c.o.Labeler
	labeler.Begin()
	touched := int64(-1)
	for i := range items {
		item := &items[i]
		e := &item.Event
		if hour := stats.HourOfMicros(e.TimeMicros); hour != touched {
			touched = hour
			c.publisher.builder.Touch(hour)
		}
		if !e.IsResponse() {
			item.Host, item.Method, item.Label, item.Route = "", "", "", ""
			continue
		}
		row := labeler.Label(e)
		item.Host, item.Method, item.Label, item.Route = row.Host, row.Method, row.Label, row.Route
		if c.o.RawPathsOff {
			e.Path = nil // only the label is stored
		}
	}
	return stateChanges(labeler)
}

// stateChanges converts the changes of a labeler to the type that the store takes.
func stateChanges(l *paths.Labeler) (out []store.StateChange) {
	for _, c := range l.Changes() {
		out = append(out, store.StateChange(c))
	}
	return out
}

// finish updates everything that depends on the events of an applied run.
func (c *Collector) finish(r run, d *Drained) {
	c.o.Labeler.Commit()
	c.applied[r.epoch] = r.lastSeq()
	responses := 0
	rules := c.o.Labeler.Rules()
	now := c.live.Begin(r.epoch)
	for i := range r.items {
		item := &r.items[i]
		if item.Event.IsResponse() {
			responses++
			row := catalogue.RowName{Host: item.Host, Method: item.Method, Label: rules.Label(item.Host, item.Label), Route: item.Route}
			now.Add(row, item.Seq, &item.Event)
			if c.o.Span != nil && item.Event.Span != (event.Span{}) {
				c.o.Span(r.epoch, item.Seq, row, &item.Event)
			}
		}
	}
	now.Close()
	d.Events += len(r.items)
	c.guard.applied(len(r.items))
	d.Responses += responses
	d.Batches++
	c.publisher.batches++
	c.metrics.applied.Add(float64(responses))
	c.metrics.batches.Inc()
	lag := c.o.Now().Sub(time.UnixMicro(r.items[len(r.items)-1].Event.TimeMicros))
	usage := c.o.Labeler.Usage()
	c.updateStatus(func(s *Status) {
		s.Applied += uint64(responses)
		s.Batches++
		s.Lag = max(lag, 0)
		s.Paths = usage
	})
}

package collector

import (
	"context"
	"errors"
	"fmt"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

// attemptsMax is how often a batch may fail for its own sake before it is taken apart.
const attemptsMax = 3

// settle applies a part, or isolates and quarantines what keeps it from being applied. It returns an error only if the
// whole step should be tried again later.
func (c *Collector) settle(ctx context.Context, p part, d *Drained) error {
	var err error
	for range attemptsMax {
		if err = c.attempt(p, d); err == nil {
			return nil
		}
		if temporary(ctx, err) {
			return err
		}
		if errors.Is(err, store.ErrBatchTooLarge) {
			return c.isolate(ctx, p, err, d) // nothing is wrong with it
		}
		c.metrics.failures.Inc()
	}
	c.log.Error("a batch cannot be applied and is taken apart", "epoch", p.epoch, "first_seq", p.items[0].Seq,
		"last_seq", p.lastSeq(), "events", len(p.items), "attempts", attemptsMax, "error", err)
	return c.isolate(ctx, p, err, d)
}

// temporary reports whether an error says nothing about the batch itself.
func temporary(ctx context.Context, err error) bool {
	return errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil
}

// isolate divides a part that failed, in order, because the watermark can only move forward: at its malformed records
// where there are any, which are known, and in the middle otherwise.
func (c *Collector) isolate(ctx context.Context, p part, cause error, d *Drained) error {
	first := firstMalformed(p.items)
	switch {
	case first >= 0:
		end := first + 1
		for end < len(p.items) && p.items[end].Event.Kind == 0 {
			end++
		}
		if err := c.applyPart(ctx, part{p.epoch, p.items[:first]}, d); err != nil {
			return err
		}
		if err := c.quarantine(part{p.epoch, p.items[first:end]}, cause, d); err != nil {
			return err
		}
		return c.applyPart(ctx, part{p.epoch, p.items[end:]}, d)
	case len(p.items) == 1:
		return c.quarantine(p, cause, d)
	}
	middle := len(p.items) / 2
	if err := c.applyPart(ctx, part{p.epoch, p.items[:middle]}, d); err != nil {
		return err
	}
	return c.applyPart(ctx, part{p.epoch, p.items[middle:]}, d)
}

func (c *Collector) applyPart(ctx context.Context, p part, d *Drained) error {
	if len(p.items) == 0 {
		return nil
	}
	err := c.attempt(p, d)
	if err == nil || temporary(ctx, err) {
		return err
	}
	return c.isolate(ctx, p, err, d)
}

// quarantine hands a part to the store's quarantine as a batch of its own, with the reason.
func (c *Collector) quarantine(p part, cause error, d *Drained) error {
	builder := event.NewBatchBuilder(p.epoch)
	responses := uint64(0)
	for i := range p.items {
		response := event.IsResponseRecord(p.items[i].Record)
		if response {
			responses++
		}
		if err := builder.Add(p.items[i].Seq, p.items[i].Record, response); err != nil {
			return fmt.Errorf("%w: prepare quarantine: %w", store.ErrUnavailable, err)
		}
	}
	c.booksMu.Lock()
	defer c.booksMu.Unlock()
	if err := c.o.Store.Quarantine(p.epoch, p.lastSeq(), responses, builder.Bytes(), cause.Error()); err != nil {
		// Whatever the reason: without quarantine the events must not be passed over.
		return fmt.Errorf("%w: quarantine events %d to %d of epoch %s: %w",
			store.ErrUnavailable, p.items[0].Seq, p.lastSeq(), p.epoch, err)
	}
	c.applied[p.epoch] = p.lastSeq()
	d.Quarantined += len(p.items)
	c.metrics.quarantined.Add(float64(responses))
	c.updateStatus(func(s *Status) { s.QuarantinedRuns++ })
	c.log.Error("events were set aside in quarantine", "epoch", p.epoch, "first_seq", p.items[0].Seq,
		"last_seq", p.lastSeq(), "responses", responses, "reason", cause)
	return nil
}

// firstMalformed is the index of the first record that could not be decoded, -1 if there is none.
func firstMalformed(items []store.Item) int {
	for i := range items {
		if items[i].Event.Kind == 0 {
			return i
		}
	}
	return -1
}

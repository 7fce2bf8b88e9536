package collector

import (
	"context"
	"fmt"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

// The code in this file handles runs with events that cannot be applied. The normal path in drain.go never reaches it.

// isolate divides a run that could not be applied and applies the pieces in order, because the watermark only moves forward. It divides
// the run at the malformed records, which have already been found, or in the middle if there are none. A single event that fails is
// quarantined.
func (c *Collector) isolate(ctx context.Context, r run, cause error, d *Drained) error {
	first := firstMalformed(r.items)
	switch {
	case first >= 0:
		end := first + 1
		for end < len(r.items) && r.items[end].Event.Kind == 0 {
			end++
		}
		if err := c.applyPiece(ctx, run{r.epoch, r.items[:first]}, d); err != nil {
			return err
		}
		if err := c.quarantine(run{r.epoch, r.items[first:end]}, cause, d); err != nil {
			return err
		}
		return c.applyPiece(ctx, run{r.epoch, r.items[end:]}, d)
	case len(r.items) == 1:
		return c.quarantine(r, cause, d)
	}
	middle := len(r.items) / 2
	if err := c.applyPiece(ctx, run{r.epoch, r.items[:middle]}, d); err != nil {
		return err
	}
	return c.applyPiece(ctx, run{r.epoch, r.items[middle:]}, d)
}

func (c *Collector) applyPiece(ctx context.Context, r run, d *Drained) error {
	if len(r.items) == 0 {
		return nil
	}
	err := c.apply(r, d)
	if err == nil || temporary(ctx, err) {
		return err
	}
	return c.isolate(ctx, r, err, d)
}

// quarantine adds a run to the store's quarantine as one batch, together with the reason.
func (c *Collector) quarantine(r run, cause error, d *Drained) error {
	builder := event.NewBatchBuilder(r.epoch)
	responses := uint64(0)
	for i := range r.items {
		response := event.IsResponseRecord(r.items[i].Record)
		if response {
			responses++
		}
		if err := builder.Add(r.items[i].Seq, r.items[i].Record, response); err != nil {
			return fmt.Errorf("%w: prepare quarantine: %w", store.ErrUnavailable, err)
		}
	}
	c.storeMu.Lock()
	defer c.storeMu.Unlock()
	if err := c.o.Store.Quarantine(r.epoch, r.lastSeq(), responses, builder.Bytes(), cause.Error()); err != nil {
		// Whatever the reason, events that are not in the quarantine must not be acknowledged.
		return fmt.Errorf("%w: quarantine events %d to %d of epoch %s: %w",
			store.ErrUnavailable, r.items[0].Seq, r.lastSeq(), r.epoch, err)
	}
	c.applied[r.epoch] = r.lastSeq()
	d.Quarantined += len(r.items)
	c.metrics.quarantined.Add(float64(responses))
	c.updateStatus(func(s *Status) { s.QuarantinedRuns++ })
	c.log.Error("events cannot be applied; they were quarantined, so the statistics do not contain them",
		"epoch", r.epoch, "first_seq", r.items[0].Seq,
		"last_seq", r.lastSeq(), "responses", responses, "reason", cause)
	return nil
}

// firstMalformed returns the index of the first record that could not be decoded, or -1.
func firstMalformed(items []store.Item) int {
	for i := range items {
		if items[i].Event.Kind == 0 {
			return i
		}
	}
	return -1
}

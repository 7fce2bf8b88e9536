package collector

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/spool"
)

// reconcile compares, epoch by epoch, what the spools say was recorded with what the store has of it, and makes them agree.
// They disagree after a death between apply and acknowledgement, which costs nothing, and after damage:
//
//   - a queue that was damaged after its events were applied: the spool counted them as dropped, and takes that back;
//   - a store that was set aside, or came back older than it was: what the spool was told is safe is not there any more.
//     It is counted as quarantined, so that the figures say that it is missing and still add up.
//
// The caller holds drainMu: no event is applied meanwhile.
func (c *Collector) reconcile(ctx context.Context) error {
	marks := c.o.Store.Marks()
	ledgers, err := c.o.Source.Ledgers(ctx, c.o.Store.Watermarks())
	if err != nil {
		return sourceError(ctx, "read ledgers", err)
	}
	c.noteBacklog(ledgers)
	if err := c.narrowDoubt(ledgers); err != nil {
		return err
	}
	var failed []error
	for _, l := range ledgers {
		mark := marks[l.Epoch]
		held := mark.Applied + mark.Quarantined
		if c.reconciled[l.Epoch] && l.Recorded == l.Spooled+held {
			continue
		}
		missing, err := c.o.Source.Settle(ctx, l.Epoch, mark.Seq, held)
		switch {
		case errors.Is(err, spool.ErrUnknownEpoch):
			continue // retired meanwhile
		case err != nil:
			failed = append(failed, sourceError(ctx, "settle", err))
			continue
		case missing > 0:
			if err := c.missing(l, mark, missing); err != nil {
				failed = append(failed, err)
				continue
			}
		}
		c.reconciled[l.Epoch] = true
	}
	if len(failed) == 0 && !c.adopted {
		if err := c.adoptOrphans(ledgers, marks); err != nil {
			failed = append(failed, err)
		} else {
			c.adopted = true
		}
	}
	if len(failed) == 0 {
		c.noteReady(ledgers, c.o.Store.Marks())
	}
	return errors.Join(failed...)
}

// noteReady notes that a refill may begin: once of each epoch in the spools an event was applied, or none waits, or what waits is handed
// out to a newer wayside only. The caller holds drainMu.
func (c *Collector) noteReady(ledgers []spool.Ledger, marks map[uuid.UUID]store.Mark) {
	for _, l := range ledgers {
		if l.Spooled > 0 && marks[l.Epoch].From == 0 && !c.idle {
			return
		}
	}
	c.refills.mu.Lock()
	defer c.refills.mu.Unlock()
	c.refills.ready = true
}

// narrowDoubt tells a store that was begun anew which epochs there are: what it had archived of them, only the archive knows.
func (c *Collector) narrowDoubt(ledgers []spool.Ledger) error {
	epochs := make([]uuid.UUID, 0, len(ledgers))
	for _, l := range ledgers {
		epochs = append(epochs, l.Epoch)
	}
	if err := c.o.Store.NarrowDoubt(epochs); err != nil {
		return fmt.Errorf("note which epochs an earlier store may have archived: %w", err)
	}
	return nil
}

// adoptOrphans gives a ledger to every epoch that the store has events of, and that neither has one nor a spool any more: a
// store that came back older than it was has lost it. What it still holds is all that is known of it. Should the spool turn
// up after all (it was locked, or could not be read), its own figures count.
func (c *Collector) adoptOrphans(ledgers []spool.Ledger, marks map[uuid.UUID]store.Mark) error {
	for _, l := range ledgers {
		delete(marks, l.Epoch)
	}
	for _, l := range c.o.Store.Ledgers() {
		delete(marks, l.Epoch)
	}
	for epoch, mark := range marks {
		held := mark.Applied + mark.Quarantined
		if err := c.o.Store.Doubt(epoch); err != nil {
			return fmt.Errorf("put epoch %s in doubt: %w", epoch, err)
		}
		if err := c.o.Store.SetLedger(store.Ledger{Epoch: epoch, Responses: held, Recorded: held}); err != nil {
			return fmt.Errorf("store ledger of epoch %s: %w", epoch, err)
		}
		c.log.Warn("an epoch had no figures of its own any more; what the store holds of it counts", "epoch", epoch, "recorded", held)
	}
	return nil
}

// missing counts responses that the store has lost.
func (c *Collector) missing(l spool.Ledger, mark store.Mark, missing uint64) error {
	reason := fmt.Sprintf("%d responses had been applied and acknowledged, and are not in the store", missing)
	c.booksMu.Lock()
	defer c.booksMu.Unlock()
	if err := c.o.Store.Doubt(l.Epoch); err != nil {
		return fmt.Errorf("put epoch %s in doubt: %w", l.Epoch, err)
	}
	if err := c.o.Store.Quarantine(l.Epoch, mark.Seq, missing, nil, reason); err != nil {
		return fmt.Errorf("count what the store has lost of epoch %s: %w", l.Epoch, err)
	}
	c.metrics.quarantined.Add(float64(missing))
	c.log.Error("the store has lost responses; they count as quarantined", "epoch", l.Epoch, "responses", missing,
		"recorded", l.Recorded, "applied", mark.Applied)
	return nil
}

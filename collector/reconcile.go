package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/spool"
)

// reconciler makes the ledgers of the spools and the figures of the store agree, and retires finished epochs. Callers
// of its methods hold Collector.drainMu, so no event is applied in the meantime.
type reconciler struct {
	source  spool.Source
	store   Store
	log     *slog.Logger
	metrics *metrics
	storeMu *sync.Mutex

	agreed  map[uuid.UUID]bool // epochs whose figures this process has reconciled
	retired map[uuid.UUID]bool // epochs whose final ledger is in the store
	orphans bool               // whether this process has already searched for epochs without a ledger
	idle    bool               // whether the last Peek returned nothing

	ready atomic.Bool // see Collector.ReadyToRefill
}

func newReconciler(o *Options, m *metrics, storeMu *sync.Mutex) *reconciler {
	r := &reconciler{
		source: o.Source, store: o.Store, log: o.Logger, metrics: m, storeMu: storeMu,
		agreed: map[uuid.UUID]bool{}, retired: map[uuid.UUID]bool{},
	}
	for _, l := range o.Store.Ledgers() {
		r.retired[l.Epoch] = true
	}
	return r
}

// reconcile compares, for each epoch, the number of responses that the spools have recorded with the number in the store, and makes the
// two agree. They differ if a process died between applying and acknowledging events; in that case, nothing is lost. They also differ
// after damage:
//
//   - A queue was damaged after its events had been applied. The spool counted them as dropped, and now takes that back.
//   - A store was set aside, or replaced by an older copy. Responses that had been acknowledged are missing from the new store. They are
//     counted as quarantined. This makes the loss visible, and the figures add up.
func (r *reconciler) reconcile(ctx context.Context, ledgers []spool.Ledger) error {
	marks := r.store.Marks()
	epochs := make([]uuid.UUID, len(ledgers))
	for i := range ledgers {
		epochs[i] = ledgers[i].Epoch
	}
	if err := r.store.LimitUnreconciled(epochs); err != nil {
		return fmt.Errorf("note which epochs an earlier store may have archived: %w", err)
	}
	var failed []error
	for _, l := range ledgers {
		mark := marks[l.Epoch]
		held := mark.Applied + mark.Quarantined
		if r.agreed[l.Epoch] && l.Recorded == l.Spooled+held {
			continue
		}
		lost, err := r.source.Reconcile(ctx, l.Epoch, mark.Seq, held)
		switch {
		case errors.Is(err, spool.ErrUnknownEpoch):
			continue // retired in the meantime
		case err != nil:
			failed = append(failed, sourceError(ctx, "reconcile", err))
			continue
		case lost > 0:
			if err := r.quarantineLost(l, mark, lost); err != nil {
				failed = append(failed, err)
				continue
			}
		}
		r.agreed[l.Epoch] = true
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if !r.orphans {
		if err := r.addOrphans(ledgers, marks); err != nil {
			return err
		}
		r.orphans = true
	}
	if r.idle || allBegun(ledgers, r.store.Marks()) {
		r.ready.Store(true)
	}
	return nil
}

// allBegun reports whether, for every epoch with events in the spools, an event has been applied since the store last
// lost events of that epoch.
func allBegun(ledgers []spool.Ledger, marks map[uuid.UUID]store.Mark) bool {
	for _, l := range ledgers {
		if mark := marks[l.Epoch]; l.Spooled > 0 && (mark.From == 0 || mark.Open) {
			return false
		}
	}
	return true
}

// addOrphans stores a ledger for every epoch that has events in the store but neither a ledger nor a spool. This happens if the store was
// replaced by an older copy that lacks the ledger. The only thing known about such an epoch is the number of its events in the store. If
// the epoch's spool appears later (because the spool was locked or unreadable before), the spool's figures take precedence.
func (r *reconciler) addOrphans(ledgers []spool.Ledger, marks map[uuid.UUID]store.Mark) error {
	for _, l := range ledgers {
		delete(marks, l.Epoch)
	}
	for _, l := range r.store.Ledgers() {
		delete(marks, l.Epoch)
	}
	for epoch, mark := range marks {
		held := mark.Applied + mark.Quarantined
		if err := r.store.MarkUnreconciled(epoch); err != nil {
			return fmt.Errorf("mark epoch %s as unreconciled: %w", epoch, err)
		}
		if err := r.store.SetLedger(store.Ledger{Epoch: epoch, Responses: held, Recorded: held}); err != nil {
			return fmt.Errorf("store ledger of epoch %s: %w", epoch, err)
		}
		r.log.Warn("the spool and the final figures of an epoch are missing; assuming that the store has all of its events",
			"epoch", epoch, "recorded", held)
	}
	return nil
}

// quarantineLost adds the responses that the store has lost to the number of quarantined ones.
func (r *reconciler) quarantineLost(l spool.Ledger, mark store.Mark, lost uint64) error {
	reason := fmt.Sprintf("%d responses had been applied and acknowledged, but are missing from the store", lost)
	r.storeMu.Lock()
	defer r.storeMu.Unlock()
	if err := r.store.MarkUnreconciled(l.Epoch); err != nil {
		return fmt.Errorf("mark epoch %s as unreconciled: %w", l.Epoch, err)
	}
	if err := r.store.Quarantine(l.Epoch, mark.Seq, lost, nil, reason); err != nil {
		return fmt.Errorf("count the responses that the store has lost of epoch %s: %w", l.Epoch, err)
	}
	r.metrics.quarantined.Add(float64(lost))
	r.log.Error("the store has lost responses; they count as quarantined", "epoch", l.Epoch, "responses", lost,
		"recorded", l.Recorded, "applied", mark.Applied)
	return nil
}

// retireFinished stores the final ledger of every epoch that is closed and fully applied, and then lets the source remove the epoch.
// After a crash between these two steps, both the store and the source have the epoch, and the accounting counts it once.
func (r *reconciler) retireFinished(ctx context.Context) error {
	ledgers, err := r.source.Ledgers(ctx, r.store.Watermarks())
	if err != nil {
		return sourceError(ctx, "read ledgers", err)
	}
	marks := r.store.Marks()
	var failed error
	for _, l := range ledgers {
		if mark := marks[l.Epoch]; !l.Closed || l.Spooled > 0 || l.Recorded != mark.Applied+mark.Quarantined {
			continue // the ledger is not final until the figures agree, see reconcile
		}
		final := store.Ledger{
			Epoch: l.Epoch, Responses: l.Responses, Recorded: l.Recorded, Excluded: l.Excluded, Dropped: l.Dropped,
		}
		if err := r.store.SetLedger(final); err != nil {
			return fmt.Errorf("store ledger of epoch %s: %w", l.Epoch, err)
		}
		crash.Point("collector.retire.before")
		err := r.source.Retire(ctx, l.Epoch)
		if errors.Is(err, spool.ErrNotDrained) {
			continue // a drop record is still pending
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("retire epoch %s: %w", l.Epoch, err))
			continue
		}
		crash.Point("collector.retire.after")
		r.retired[l.Epoch] = true
		r.log.Info("all events of an epoch have been applied or quarantined, and its spool folder was removed",
			"epoch", l.Epoch, "responses", l.Responses, "recorded", l.Recorded)
	}
	return failed
}

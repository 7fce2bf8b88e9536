package spool

import (
	"cmp"
	"fmt"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// reconcile commits the events that are only in the journal, and makes the ledger agree with what was found on disk. It returns the number of
// responses in the journal that the queue had never counted.
func (r *recovery) reconcile() (fromJournal uint64) {
	e, known := r.e, r.known
	expected := known.Recorded - min(known.Recorded, known.AckedResponses)
	fromJournal = r.recoverJournal(known.LastSeq)
	before := max(known.Dropped[lostDamaged.String()], r.page.counters[slotOf(lostDamaged)])
	r.reconcileLedger(expected, fromJournal)
	if lost := e.counters.dropped(lostDamaged); lost > before {
		e.ackPending = true // the next commit writes the count to the queue
		r.foundLost.Add(lost - before)
		r.o.Logger.Error("events were lost because the spool was damaged; they count as dropped", "epoch", e.id, "responses", lost-before)
		r.quarantine.loss(e.id, fmt.Sprintf("%d responses were recorded in %s and can no longer be read: they count as dropped (%s).", lost-before, e.dir, lostDamaged),
			fmt.Errorf("the queue or journal of the dead process was damaged, truncated or missing; %d of its responses are still recorded", e.recorded))
	}
	r.undoDrops(fromJournal)
	if refused := e.counters.dropped(RefusedFault); refused > 0 && !r.quarantine.hasLoss(e.id) { // the process died before it wrote a report
		r.quarantine.loss(e.id, fmt.Sprintf("%d responses were refused by the journal of %s: they count as dropped (%s).", refused, e.dir, RefusedFault), errMapping)
	}
	return fromJournal
}

// takeCounts adopts the counters of the dead process.
func (r *recovery) takeCounts() {
	e, known, page := r.e, r.known, &r.page
	e.counters.add(slotExcluded, newer(known.Excluded, page.counters[slotExcluded]))
	for r := RefusedFull; r < refusals; r++ {
		e.counters.drop(r, newer(known.Dropped[r.String()], page.counters[slotOf(r)]))
	}
}

// reconcileLedger sets e.recorded to the number of responses that have been acknowledged or are in the index. Any others that the queue has
// counted are lost.
func (r *recovery) reconcileLedger(expected, fromJournal uint64) {
	e := r.e
	held := e.heldLocked()
	e.recorded = e.ackedResponses + held
	if committed := held - min(held, fromJournal); committed < expected {
		e.counters.drop(lostDamaged, expected-committed)
	}
	// The remaining accepted responses were in journal records that can no longer be read, or that a power cut removed.
	accounted := e.recorded + e.counters.droppedLater()
	if accepted := r.page.counters[slotAccepted]; accepted > accounted && accepted-accounted < r.o.journalResponsesMax() {
		e.counters.drop(lostDamaged, accepted-accounted)
	}
}

// undoDrops corrects the counts of responses that count as dropped but still exist. This can happen in three ways: a process died after
// it had found a batch damaged and before it removed the batch from the queue; the journal still has the batch; or [Set.Reconcile]
// corrected the count in the queue but not in the page, because the epoch's process was dead. The number of responses held or lost can
// never exceed the number committed, found in the journal, or accepted.
func (r *recovery) undoDrops(fromJournal uint64) {
	e, known, page := r.e, r.known, &r.page
	accounted := e.recorded + e.counters.droppedLater()
	ever := max(page.counters[slotAccepted], known.Recorded+droppedLater(known)+fromJournal)
	if page.counters[slotAccepted] == 0 || accounted <= ever {
		return // without a page, or with a page of version 1, the number of accepted responses is unknown
	}
	excess := accounted - ever
	for _, keep := range []map[string]uint64{known.Dropped, nil} { // first the drops that the queue has not counted
		for _, r := range []Refusal{lostDamaged, lostAge} {
			n := e.counters.dropped(r)
			back := min(excess, n-min(n, keep[r.String()]))
			if back > 0 {
				e.reported[r] = n // a record that was only in the journal may have reported n: make sure that the corrected figure is reported
			}
			e.counters.drop(r, -back)
			excess -= back
		}
	}
}

// newer chooses between the figure of the last commit and the one in the page. The page is ahead unless it is damaged or a power cut undid its
// last changes.
func newer(committed, mapped uint64) uint64 {
	if mapped > committed && mapped-committed < counterJumpMax {
		return mapped
	}
	return committed
}

// mergeStates merges the states of two files of an epoch, of which a is the older one. A nil state is unknown.
func mergeStates(a, b *queue.State) *queue.State {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	out := *b
	out.Generation, out.LastSeq = max(a.Generation, b.Generation), max(a.LastSeq, b.LastSeq)
	// Recorded decreases when recorded responses are dropped later. Only the sum of recorded and dropped-later never decreases.
	gone := droppedLater(b)
	recorded := max(a.Recorded+droppedLater(a), b.Recorded+gone)
	out.Recorded, out.Excluded = recorded-min(recorded, gone), max(a.Excluded, b.Excluded)
	out.Version, out.Expired = max(a.Version, b.Version), max(a.Expired, b.Expired)
	if a.Acked > b.Acked {
		out.Acked, out.AckedResponses = a.Acked, a.AckedResponses
	}
	return &out
}

// droppedLater returns the number of responses that were recorded first and dropped later.
func droppedLater(s *queue.State) uint64 {
	return s.Dropped[lostDamaged.String()] + s.Dropped[lostAge.String()]
}

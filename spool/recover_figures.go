package spool

import (
	"cmp"
	"fmt"

	"github.com/wayside-proxy/wayside/spool/queue"
)

// reconcile commits what only the journal holds, and makes the ledger agree with what is really there. It returns the number of responses in
// the journal that the queue had never counted.
func (r *recovery) reconcile() (fromJournal uint64) {
	e, known := r.e, r.known
	expected := known.Recorded - min(known.Recorded, known.AckedResponses)
	fromJournal = r.recoverJournal(known.LastSeq)
	before := max(known.Dropped[lostDamaged.String()], r.page.counters[slotOf(lostDamaged)])
	r.reconcileLedger(expected, fromJournal)
	if lost := e.counters.dropped(lostDamaged); lost > before {
		e.ackPending = true // the next commit writes the count to the queue
		r.foundLost.Add(lost - before)
		r.o.Logger.Error("spool lost events to damage", "epoch", e.id, "responses", lost-before)
		r.quarantine.loss(e.id, fmt.Sprintf("%d responses were recorded in %s and cannot be read any more: they count as dropped (%s).", lost-before, e.dir, lostDamaged),
			fmt.Errorf("queue or journal of the dead process were damaged, cut off or gone; %d of its responses are still recorded", e.recorded))
	}
	r.undoDrops(fromJournal)
	if refused := e.counters.dropped(RefusedFault); refused > 0 && !r.quarantine.hasLoss(e.id) { // the process died before it wrote a report
		r.quarantine.loss(e.id, fmt.Sprintf("%d responses were refused by the journal of %s: they count as dropped (%s).", refused, e.dir, RefusedFault), errMapping)
	}
	return fromJournal
}

// takeCounts takes over the counters of the dead process.
func (r *recovery) takeCounts() {
	e, known, page := r.e, r.known, &r.page
	e.counters.add(slotExcluded, newer(known.Excluded, page.counters[slotExcluded]))
	for r := RefusedFull; r < refusals; r++ {
		e.counters.drop(r, newer(known.Dropped[r.String()], page.counters[slotOf(r)]))
	}
}

// reconcileLedger sets recorded to the responses that were acknowledged or are held. Those that the queue claims beyond that are lost.
func (r *recovery) reconcileLedger(expected, fromJournal uint64) {
	e := r.e
	held := e.heldLocked()
	e.recorded = e.ackedResponses + held
	if committed := held - min(held, fromJournal); committed < expected {
		e.counters.drop(lostDamaged, expected-committed)
	}
	// Responses that were accepted and are nowhere were in records of the journal that cannot be read any more, or that a power cut
	// removed.
	accounted := e.recorded + e.counters.droppedLater()
	if accepted := r.page.counters[slotAccepted]; accepted > accounted && accepted-accounted < r.o.journalResponsesMax() {
		e.counters.drop(lostDamaged, accepted-accounted)
	}
}

// undoDrops corrects counts of responses that are counted as dropped and are here after all: a process died after it had found a batch
// damaged and before it removed the batch from the queue; or the journal still has the batch; or [Set.Reconcile] corrected the count in
// the queue and not in the page, because the process was dead. No more can be held or lost than was ever committed, found in the journal,
// or accepted.
func (r *recovery) undoDrops(fromJournal uint64) {
	e, known, page := r.e, r.known, &r.page
	accounted := e.recorded + e.counters.droppedLater()
	ever := max(page.counters[slotAccepted], known.Recorded+droppedLater(known)+fromJournal)
	if page.counters[slotAccepted] == 0 || accounted <= ever {
		return // without a page, or with one of version 1, it is not known how many were accepted
	}
	excess := accounted - ever
	for _, keep := range []map[string]uint64{known.Dropped, nil} { // first the drops that the queue does not know
		for _, r := range []Refusal{lostDamaged, lostAge} {
			n := e.counters.dropped(r)
			back := min(excess, n-min(n, keep[r.String()]))
			if back > 0 {
				e.reported[r] = n // perhaps in a record that only the journal had: the corrected figure is reported again
			}
			e.counters.drop(r, -back)
			excess -= back
		}
	}
}

// newer chooses between the figure of the last commit and that of the page. The page is ahead, unless it is damaged or a power cut took the
// last changes back.
func newer(committed, mapped uint64) uint64 {
	if mapped > committed && mapped-committed < counterJumpMax {
		return mapped
	}
	return committed
}

// mergeStates merges the states of two files of an epoch, the older one first. A state that is nil is not known.
func mergeStates(a, b *queue.State) *queue.State {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	out := *b
	out.Generation, out.LastSeq = max(a.Generation, b.Generation), max(a.LastSeq, b.LastSeq)
	// Recorded gets smaller when recorded responses are dropped later: only the sum of both never does.
	gone := droppedLater(b)
	recorded := max(a.Recorded+droppedLater(a), b.Recorded+gone)
	out.Recorded, out.Excluded = recorded-min(recorded, gone), max(a.Excluded, b.Excluded)
	out.Version, out.Expired = max(a.Version, b.Version), max(a.Expired, b.Expired)
	if a.Acked > b.Acked {
		out.Acked, out.AckedResponses = a.Acked, a.AckedResponses
	}
	return &out
}

// droppedLater counts the responses that were recorded first and dropped later.
func droppedLater(s *queue.State) uint64 {
	return s.Dropped[lostDamaged.String()] + s.Dropped[lostAge.String()]
}

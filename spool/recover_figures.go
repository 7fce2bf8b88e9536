package spool

import (
	"errors"
	"fmt"
	"path/filepath"
)

// reconcile brings in what the journal holds, and makes the ledger agree with what is really here. It returns the responses that
// came from the journal and that the queue had never counted.
func (r *recovery) reconcile() (fromJournal uint64) {
	e, known := r.e, r.known
	expected := known.Recorded - min(known.Recorded, known.AckedResponses)
	fromJournal = r.recoverJournal(known.LastSeq)
	before := max(known.Dropped[lostDamaged.String()], r.page.counters[slotOf(lostDamaged)])
	r.reconcileLedger(expected, fromJournal)
	if lost := e.counters.dropped(lostDamaged); lost > before {
		e.ackPending = true // the count goes into the queue with the next commit
		r.foundLost.Add(lost - before)
		r.o.Logger.Error("spool lost events to damage", "epoch", e.id, "responses", lost-before)
		r.aside.report(r.aside.name(e.id, "loss"), fmt.Sprintf("%d responses were recorded in %s and cannot be read any more: they count as dropped (%s).",
			lost-before, e.dir, lostDamaged), fmt.Errorf("queue or journal of the dead process were damaged, cut off or gone; of %d responses the record is whole", e.recorded))
	}
	r.uncount(fromJournal)
	r.reportFaults()
	return fromJournal
}

// reportFaults leaves a report of appends that a damaged journal refused, where their process died before it wrote one.
func (r *recovery) reportFaults() {
	e := r.e
	refused := e.counters.dropped(RefusedFault)
	if there, _ := filepath.Glob(filepath.Join(r.o.QuarantineDir, fmt.Sprintf("*-spool-%s-loss.txt", e.id))); refused == 0 || len(there) > 0 {
		return
	}
	r.aside.report(r.aside.name(e.id, "loss"), fmt.Sprintf("%d responses were refused by the journal of %s: they count as dropped (%s).", refused, e.dir, RefusedFault),
		errors.New("the mapped file was damaged or cut off while it was in use"))
}

// count takes over what a dead process counted.
func (r *recovery) count() {
	e, known, page := r.e, r.known, &r.page
	e.counters.add(slotExcluded, newer(known.Excluded, page.counters[slotExcluded]))
	for r := RefusedFull; r < refusals; r++ {
		e.counters.drop(r, newer(known.Dropped[r.String()], page.counters[slotOf(r)]))
	}
}

// reconcileLedger makes the figures agree with what is really here: recorded is what was acknowledged and what is held;
// what the queue claimed beyond that is lost, and counted so.
func (r *recovery) reconcileLedger(expected, fromJournal uint64) {
	e := r.e
	held := uint64(0)
	for i := range e.index {
		held += uint64(e.index[i].Responses)
	}
	e.recorded = e.ackedResponses + held
	if committed := held - min(held, fromJournal); committed < expected {
		e.counters.drop(lostDamaged, expected-committed)
	}
	// What was accepted and is nowhere was in a record of the journal that cannot be read any more, or that a power cut took
	// back.
	accounted := e.recorded + e.counters.dropped(lostDamaged) + e.counters.dropped(lostAge)
	if accepted := r.page.counters[slotAccepted]; accepted > accounted && accepted-accounted < r.o.journalResponsesMax() {
		e.counters.drop(lostDamaged, accepted-accounted)
	}
}

// uncount takes back what is counted as dropped and is here: a batch that was found damaged, by a process that died before the queue
// had let go of it, or whose journal still has it whole; and what Reconcile took back in the queue, and not in the page of a process
// that is dead. No more can be here or gone than was ever committed, found in the journal, or accepted.
func (r *recovery) uncount(fromJournal uint64) {
	e, known, page := r.e, r.known, &r.page
	accounted := e.recorded + e.counters.dropped(lostDamaged) + e.counters.dropped(lostAge)
	ever := max(page.counters[slotAccepted], known.Recorded+droppedLater(known)+fromJournal)
	if page.counters[slotAccepted] == 0 || accounted <= ever {
		return // without a page, or with one of version 1, nobody knows what was accepted
	}
	excess := accounted - ever
	for _, most := range []map[string]uint64{known.Dropped, nil} { // first what the queue does not say
		for _, r := range []Refusal{lostDamaged, lostAge} {
			n := e.counters.dropped(r)
			back := min(excess, n-min(n, most[r.String()]))
			if back > 0 {
				e.reported[r] = n // it may have been reported in a record that only the journal had: it is reported again, as it is now
			}
			e.counters.drop(r, -back)
			excess -= back
		}
	}
}

// newer chooses between the figure of the last commit and the mapped one, which is ahead of it unless it is damaged or a
// power cut took it back.
func newer(committed, mapped uint64) uint64 {
	if mapped > committed && mapped-committed < counterJumpMax {
		return mapped
	}
	return committed
}

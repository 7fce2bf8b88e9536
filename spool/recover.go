package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// retiredPrefix marks folders that are being removed.
const retiredPrefix = ".retired-"

func (s *Set) removeRetired() {
	names, _ := filepath.Glob(filepath.Join(s.o.Dir, retiredPrefix+"*"))
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			s.o.Logger.Warn("retired spool folder stays", "folder", name, "error", err)
		}
	}
}

// recoverAll adopts the folders of dead processes. What cannot be taken now is kept in s.skipped. The caller holds sem.
func (s *Set) recoverAll(dirs []string) {
	for _, dir := range dirs {
		if dir == s.current.dir {
			continue
		}
		e, err := s.recoverEpoch(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue // retired by its owner meanwhile
		case errors.Is(err, errBusy):
			s.skipped = append(s.skipped, dir)
			continue
		case err != nil:
			s.skipped = append(s.skipped, dir)
			if !s.warned[dir] {
				s.warned[dir] = true
				s.o.Logger.Warn("spool folder left alone for now", "folder", dir, "error", err)
			}
			continue
		}
		if e.blank() && s.discard(e) == nil {
			continue // its process ended before the first response
		}
		s.mu.Lock()
		s.epochs = append(s.epochs, e)
		sort.SliceStable(s.epochs, func(i, j int) bool {
			a, b := s.epochs[i], s.epochs[j]
			if (a == s.current) != (b == s.current) {
				return b == s.current
			}
			return a.id.String() < b.id.String()
		})
		s.changedLocked()
		s.mu.Unlock()
	}
}

// recoverEpoch takes over a folder: it locks it, reads what its queue files hold, commits what its journal holds beyond
// them, and works out the ledger.
func (s *Set) recoverEpoch(dir string) (_ *epoch, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("recover spool: %w", err)
	}
	e := &epoch{id: uuid.MustParse(filepath.Base(dir)), dir: dir, closed: true}
	if e.lock, err = lockFolder(dir, false); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = e.closeFiles()
		}
	}()
	if err = refuseNewer(dir); err != nil {
		return nil, err
	}
	known, err := s.loadQueues(e)
	if err != nil {
		return nil, err
	}
	page, pageOK := readPage(dir, e.id)
	if known == nil {
		known = &queue.State{}
		if pageOK && page.committed != nil {
			known = page.committed
		}
	}
	e.acked, e.ackedResponses, e.expired = known.Acked, known.AckedResponses, known.Expired
	e.reported = reportedOf(known.Reported)
	e.generation, e.lastSeq = known.Generation, max(known.LastSeq, known.Acked)
	e.dropAckedLocked()
	e.count(known, page) // before anything is committed: the figures go with it, and this process may die as well
	ever := known.Recorded + droppedLater(known)
	e.recorded = ever - min(ever, e.counters.dropped(lostDamaged)+e.counters.dropped(lostAge)) // for the commits until all is settled
	expected := known.Recorded - min(known.Recorded, known.AckedResponses)
	fromJournal := s.recoverJournal(e, known.LastSeq)
	before := max(known.Dropped[lostDamaged.String()], page.counters[slotOf(lostDamaged)])
	s.reconcileLedger(e, page, expected, fromJournal)
	if lost := e.counters.dropped(lostDamaged); lost > before {
		e.ackPending = true // the count goes into the queue with the next commit
		s.foundLost.Add(lost - before)
		s.o.Logger.Error("spool lost events to damage", "epoch", e.id, "responses", lost-before)
		s.report(s.quarantineName(e, "loss"), fmt.Sprintf("%d responses were recorded in %s and cannot be read any more: they count as dropped (%s).",
			lost-before, dir, lostDamaged), fmt.Errorf("queue or journal of the dead process were damaged, cut off or gone; of %d responses the record is whole", e.recorded))
	}
	e.uncount(known, page, fromJournal)
	s.reportFaults(e)
	for i := range e.index {
		e.lastSeq = max(e.lastSeq, e.index[i].Last)
	}
	if e.writer() != nil && fromJournal > 0 {
		_ = s.commitAcksOf(e) // the ledger with what the journal added; found again the same way if it fails
	}
	s.reportClosedDrops(e)
	if n := len(e.index); n > 0 || e.recorded > 0 {
		s.o.Logger.Info("recovered spool", "epoch", e.id, "batches", n, "recorded", e.recorded, "from_journal", fromJournal)
	}
	return e, nil
}

// reportFaults leaves a report of appends that a damaged journal refused, where their process died before it wrote one.
func (s *Set) reportFaults(e *epoch) {
	refused := e.counters.dropped(RefusedFault)
	if there, _ := filepath.Glob(filepath.Join(s.o.QuarantineDir, fmt.Sprintf("*-spool-%s-loss.txt", e.id))); refused == 0 || len(there) > 0 {
		return
	}
	s.report(s.quarantineName(e, "loss"), fmt.Sprintf("%d responses were refused by the journal of %s: they count as dropped (%s).", refused, e.dir, RefusedFault),
		errors.New("the mapped file was damaged or cut off while it was in use"))
}

// dropAckedLocked forgets what was acknowledged but still stands in a file.
func (e *epoch) dropAckedLocked() {
	kept := e.index[:0]
	for _, b := range e.index {
		if b.Last > e.acked {
			kept = append(kept, b)
		} else if b.file != nil {
			b.file.Remove(&b.Batch)
		}
	}
	e.index = kept
}

// count takes over what a dead process counted.
func (e *epoch) count(known *queue.State, page pageFigures) {
	e.counters.add(slotExcluded, newer(known.Excluded, page.counters[slotExcluded]))
	for r := RefusedFull; r < refusals; r++ {
		e.counters.drop(r, newer(known.Dropped[r.String()], page.counters[slotOf(r)]))
	}
}

// reconcileLedger makes the figures agree with what is really here: recorded is what was acknowledged and what is held;
// what the queue claimed beyond that is lost, and counted so.
func (s *Set) reconcileLedger(e *epoch, page pageFigures, expected, fromJournal uint64) {
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
	if accepted := page.counters[slotAccepted]; accepted > accounted && accepted-accounted < s.o.journalResponsesMax() {
		e.counters.drop(lostDamaged, accepted-accounted)
	}
}

// uncount takes back what is counted as dropped and is here: a batch that was found damaged, by a process that died before the queue
// had let go of it, or whose journal still has it whole; and what Settle took back in the queue, and not in the page of a process
// that is dead. No more can be here or gone than was ever committed, found in the journal, or accepted.
func (e *epoch) uncount(known *queue.State, page pageFigures, fromJournal uint64) {
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

// journalResponsesMax is more than the responses that a journal can hold: a figure beyond it is damage, not a loss.
func (o *Options) journalResponsesMax() uint64 {
	const bytesMin = 32                                           // less than any record takes
	return uint64(o.Segments) * uint64(o.SegmentBytes) / bytesMin //nolint:gosec // both are above 0
}

// newer chooses between the figure of the last commit and the mapped one, which is ahead of it unless it is damaged or a
// power cut took it back.
func newer(committed, mapped uint64) uint64 {
	if mapped > committed && mapped-committed < counterJumpMax {
		return mapped
	}
	return committed
}

// recoverJournal commits what the journal's segments hold and the queue does not, and returns the responses among that
// which the queue never counted: those beyond its last seq.
// The segments are removed once everything is in the queue; else they stay, and their batches are served from memory.
func (s *Set) recoverJournal(e *epoch, counted uint64) (responses uint64) {
	segments, err := journal.List(e.dir, e.id)
	if err != nil {
		s.o.Logger.Error("journal segments cannot be recovered", "epoch", e.id, "error", err)
	}
	durable := err == nil
	for _, left := range segments {
		b, value, scanErr := buildLeft(left, e, s.o.Now())
		if scanErr != nil {
			s.o.Logger.Error("journal segment is damaged", "error", scanErr)
		}
		if b.Records == 0 || b.Last <= e.acked {
			continue
		}
		if at := e.coveringLocked(b.First, b.Last); at != nil && s.readable(at) {
			continue // the usual case for the segment of the last commit, also where its first records are damaged by now
		}
		if !s.recoverBatch(e, left.Generation, &b, value, counted) {
			durable = false
		}
		if b.First > counted {
			responses += uint64(b.Responses)
		}
	}
	if !durable {
		return responses
	}
	names, _ := filepath.Glob(filepath.Join(e.dir, "journal-*.seg"))
	for _, name := range names {
		_ = os.Remove(name)
	}
	return responses
}

func buildLeft(left journal.Left, e *epoch, now time.Time) (b entry, value []byte, err error) {
	builder := event.NewBatchBuilder(e.id)
	err = left.Scan(func(seq uint64, payload []byte) {
		response := event.IsResponseRecord(payload)
		if builder.Add(seq, payload, response) != nil {
			return
		}
		if b.Records == 0 {
			b.First = seq
		}
		b.Last, b.Records = seq, b.Records+1
		if response {
			b.Responses++
		}
	})
	b.Size, b.at = builder.Size(), now
	return b, builder.Bytes(), err
}

// readable reports whether a batch of the index is whole; if not, it takes it out, for the journal's copy.
func (s *Set) readable(at *entry) bool {
	if at.file == nil {
		return true
	}
	value, err := at.file.Read(&at.Batch)
	if err == nil && value != nil {
		_, err = event.ParseBatch(value)
	}
	return err == nil && value != nil
}

// recoverBatch commits a batch from the journal, or keeps it in memory, and reports which.
func (s *Set) recoverBatch(e *epoch, generation uint64, b *entry, value []byte, counted uint64) bool {
	old := e.coveringLocked(b.First, b.Last)
	if old == nil {
		old = e.findLocked(b.First)
	}
	var replaced entry
	if old != nil {
		replaced = *old
		e.removeLocked(old.First)
	}
	q := e.writer()
	if q == nil {
		var err error
		if q, err = s.addQueue(e); err != nil {
			s.o.Logger.Warn("recovered events are held in memory", "epoch", e.id, "error", err)
		}
	}
	ok := false
	if q != nil {
		var gone []queue.Batch // in the same transaction: a death must not leave both
		if replaced.file == q && !bytes.Equal(replaced.Key(), b.Key()) {
			gone = append(gone, replaced.Batch)
		}
		m := e.stateLocked(generation, b)
		if b.First <= counted {
			m.Recorded -= uint64(b.Responses) // the queue has counted them
		}
		err := q.Commit(queue.Change{Batch: &b.Batch, Value: value, Remove: gone, State: m})
		if ok = err == nil; !ok {
			s.o.Logger.Warn("recovered events are held in memory", "epoch", e.id, "error", err)
		}
	}
	if ok {
		b.file = q
		e.generation = max(e.generation, generation)
	} else {
		b.cached = value
	}
	if b.First > counted {
		e.recorded += uint64(b.Responses)
	}
	e.lastSeq = max(e.lastSeq, b.Last)
	i := sort.Search(len(e.index), func(i int) bool { return e.index[i].First >= b.First })
	e.index = append(e.index[:i:i], append([]entry{*b}, e.index[i:]...)...)
	return ok
}

// addQueue begins a queue file in a folder that has none that can be written.
func (s *Set) addQueue(e *epoch) (*queue.File, error) {
	number := 0
	if numbers := queue.Numbers(e.dir); len(numbers) > 0 {
		number = numbers[len(numbers)-1] + 1
	}
	q, err := queue.Create(s.o.queue(), e.dir, number, e.stateLocked(0, nil))
	if err != nil {
		return nil, err
	}
	e.files = append(e.files, q)
	return q, nil
}

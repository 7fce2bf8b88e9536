package spool

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// leftover is the folder of a dead process, opened read-only. Verification and the count of waiting responses must arrive at the same figures
// as the next start: see recovery.
type leftover struct {
	id      uuid.UUID
	dir     string
	state   *queue.State // the newest state in the queue files; if there is none, readPage sets it
	page    pageFigures
	batches map[uint64]oldBatch // of all queue files, by first seq; if two files have the same batch, the newer file's copy is used
}

type oldBatch struct {
	queue.Batch
	unreadable bool
}

// openLeftover locks a folder until unlock is called, or continues without a lock if this process may not write there. It fails with
// errBusy while the process of the epoch is alive.
func openLeftover(dir string) (l *leftover, unlock func(), err error) {
	lock, err := lockFolder(dir, false)
	if errors.Is(err, errBusy) {
		return nil, nil, err
	}
	l = &leftover{id: uuid.MustParse(filepath.Base(dir)), dir: dir, batches: make(map[uint64]oldBatch)}
	return l, func() { _ = lock.Close() }, nil
}

// readQueue passes each batch of a queue file to check and then adds it to l.batches. It returns the state in the file, or nil if the
// state is damaged.
func (l *leftover) readQueue(number int, check func(f *queue.File, state *queue.State, b *oldBatch)) (state *queue.State, err error) {
	err = queue.Inspect(l.dir, number, l.id, func(f *queue.File, found *queue.State, index []queue.Batch) {
		state = found
		l.state = mergeStates(l.state, found)
		for i := range index {
			b := oldBatch{Batch: index[i]}
			check(f, found, &b)
			l.batches[b.First] = b
		}
	})
	return state, err
}

// readPage reads the ledger page, after the queue files. It reports whether the page is readable.
func (l *leftover) readPage() (ok bool) {
	l.page, ok = readPage(l.dir, l.id)
	l.state = l.page.stateOr(l.state)
	return ok
}

// waiting counts the responses that the next start will find and that have not been applied. The same batch may be in two queue files and in
// the journal. The journal may also contain batches that are in no queue file although the queue's figures count them.
func (l *leftover) waiting(applied uint64) (n uint64, err error) {
	through := max(applied, l.state.Acked)
	for first, b := range l.batches {
		if b.Last > through && first > l.state.Expired {
			n += uint64(b.Responses)
		}
	}
	firsts := slices.Sorted(maps.Keys(l.batches))
	segments, failed := journal.List(l.dir, l.id)
	for _, segment := range segments {
		err := segment.Scan(func(seq uint64, record []byte) {
			at, found := slices.BinarySearch(firsts, seq)
			inBatch := found || at > 0 && seq <= l.batches[firsts[at-1]].Last
			if seq > through && !inBatch && event.IsResponseRecord(record) {
				n++
			}
		})
		failed = errors.Join(failed, err)
	}
	return n, failed
}

// lost counts the responses that the next start will count as damaged: see recoverJournal and reconcileLedger. It changes batches.
func (l *leftover) lost(segments []journal.OldSegment) (lost uint64) {
	maps.DeleteFunc(l.batches, func(_ uint64, b oldBatch) bool { return b.Last <= l.state.Acked })
	fromJournal := uint64(0)
	builder := event.NewBatchBuilder(l.id)
	for _, segment := range segments {
		b, _, _ := buildBatch(builder, segment.Scan) // dirVerification.journal has already reported an error
		if b.Records == 0 || b.Last <= l.state.Acked {
			continue
		}
		if at, ok := l.covering(&b.Batch); ok && !at.unreadable {
			continue
		} else if ok {
			delete(l.batches, at.First)
		}
		l.batches[b.First] = oldBatch{Batch: b.Batch}
		if b.First > l.state.LastSeq {
			fromJournal += uint64(b.Responses)
		}
	}
	held := uint64(0)
	for _, b := range l.batches {
		held += uint64(b.Responses)
	}
	expected := l.state.Recorded - min(l.state.Recorded, l.state.AckedResponses)
	committed := held - min(held, fromJournal)
	lost = expected - min(expected, committed)
	accounted := l.state.AckedResponses + held + lost
	for _, r := range []Refusal{lostDamaged, lostAge} {
		accounted += newer(l.state.Dropped[r.String()], l.page.counters[slotOf(r)])
	}
	accepted := l.page.counters[slotAccepted]
	return lost + accepted - min(accepted, accounted)
}

// covering returns a batch that contains every seq of b.
func (l *leftover) covering(b *queue.Batch) (oldBatch, bool) {
	for _, at := range l.batches {
		if at.First <= b.First && at.Last >= b.Last {
			return at, true
		}
	}
	return oldBatch{}, false
}

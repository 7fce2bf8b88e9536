package spool

import (
	"bytes"
	"errors"
	"os"
	"slices"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// journalResponsesMax is more than a journal can hold: a larger figure is a sign of damage, not a loss.
func (o *Options) journalResponsesMax() uint64 {
	const recordBytesMin = 32 // smaller than any record
	return uint64(o.Segments) * uint64(o.SegmentBytes) / recordBytesMin
}

// recoverJournal commits the journal records that are not in the queue. It returns how many of their responses the queue never counted.
// counted is the last seq that the queue counted. If everything is now in the queue, recoverJournal removes the segments. Otherwise the
// segments remain, and their batches are served from memory.
func (r *recovery) recoverJournal(counted uint64) (responses uint64) {
	e := r.e
	segments, err := journal.List(e.dir, e.id)
	if err != nil {
		r.o.Logger.Error("some journal segments cannot be recovered; events that are only in them count as dropped", "epoch", e.id, "error", err)
	}
	durable := err == nil
	builder := event.NewBatchBuilder(e.id)
	for _, segment := range segments {
		b, value, err := buildBatch(builder, segment.Scan)
		if err != nil {
			r.o.Logger.Error("a journal segment is damaged; its unreadable events count as dropped, unless the queue has them", "error", err)
		}
		if b.Records == 0 || b.Last <= e.acked {
			continue
		}
		if at := e.coveringLocked(b.First, b.Last); at != nil && readable(at) {
			continue // usually the segment of the last commit, whose first records may be damaged
		}
		b.at = r.o.Now()
		if !r.recoverBatch(segment.Generation, &b, value, counted) {
			durable = false
		}
		if b.First > counted {
			responses += uint64(b.Responses)
		}
	}
	if durable {
		for _, name := range journal.Files(e.dir) {
			_ = os.Remove(name)
		}
	}
	return responses
}

// readable reports whether a batch in the index can be read. If not, the journal's copy replaces it.
func readable(at *entry) bool {
	if at.file == nil {
		return true
	}
	value, err := at.file.Read(&at.Batch)
	if err == nil && value != nil {
		_, err = event.ParseBatch(value)
	}
	return value != nil && (err == nil || errors.Is(err, event.ErrVersion))
}

// recoverBatch commits a batch from the journal. If that fails, it keeps the batch in memory and reports false.
func (r *recovery) recoverBatch(generation uint64, b *entry, value []byte, counted uint64) bool {
	e := r.e
	old := e.coveringLocked(b.First, b.Last)
	if old == nil {
		old = e.findLocked(b.First)
	}
	var replaced entry
	if old != nil {
		replaced = *old
		e.removeLocked(old.First)
	}
	err := r.commitBatch(generation, b, value, counted, &replaced)
	if err == nil {
		b.file = e.writer()
		e.generation = max(e.generation, generation)
	} else {
		r.o.Logger.Warn("cannot write recovered events to the queue; keeping them in memory", "epoch", e.id, "error", err)
		b.cached = bytes.Clone(value)
	}
	if b.First > counted {
		e.recorded += uint64(b.Responses)
	}
	e.lastSeq = max(e.lastSeq, b.Last)
	e.index = slices.Insert(e.index, e.searchLocked(b.First), *b)
	return err == nil
}

// commitBatch commits a batch from the journal. If replaced is a damaged batch, the new one takes its place.
func (r *recovery) commitBatch(generation uint64, b *entry, value []byte, counted uint64, replaced *entry) error {
	e := r.e
	q := e.writer()
	if q == nil {
		var err error
		if q, err = r.addQueue(); err != nil {
			return err
		}
	}
	var remove []queue.Batch // in the same transaction: the file must never contain both
	if replaced.file == q && !bytes.Equal(replaced.Key(), b.Key()) {
		remove = append(remove, replaced.Batch)
	}
	state := e.stateLocked(generation, b)
	if b.First <= counted {
		state.Recorded -= uint64(b.Responses) // the queue has counted them
	}
	return q.Commit(queue.Change{Batch: &b.Batch, Value: value, Remove: remove, State: state})
}

// addQueue creates a queue file in a folder whose existing queue files cannot be written.
func (r *recovery) addQueue() (*queue.File, error) {
	e := r.e
	number := 0
	if numbers := queue.Numbers(e.dir); len(numbers) > 0 {
		number = numbers[len(numbers)-1] + 1
	}
	q, err := queue.Create(r.o.queue(), e.dir, number, e.stateLocked(0, nil))
	if err != nil {
		return nil, err
	}
	e.files = append(e.files, q)
	return q, nil
}

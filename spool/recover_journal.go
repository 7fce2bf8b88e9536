package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// journalResponsesMax is more than the responses that a journal can hold: a figure beyond it is damage, not a loss.
func (o *Options) journalResponsesMax() uint64 {
	const bytesMin = 32                                           // less than any record takes
	return uint64(o.Segments) * uint64(o.SegmentBytes) / bytesMin
}

// recoverJournal commits what the journal's segments hold and the queue does not, and returns the responses among that
// which the queue never counted: those beyond its last seq.
// The segments are removed once everything is in the queue; else they stay, and their batches are served from memory.
func (r *recovery) recoverJournal(counted uint64) (responses uint64) {
	e := r.e
	segments, err := journal.List(e.dir, e.id)
	if err != nil {
		r.o.Logger.Error("journal segments cannot be recovered", "epoch", e.id, "error", err)
	}
	durable := err == nil
	for _, left := range segments {
		b, value, scanErr := buildLeft(left, e, r.o.Now())
		if scanErr != nil {
			r.o.Logger.Error("journal segment is damaged", "error", scanErr)
		}
		if b.Records == 0 || b.Last <= e.acked {
			continue
		}
		if at := e.coveringLocked(b.First, b.Last); at != nil && readable(at) {
			continue // the usual case for the segment of the last commit, also where its first records are damaged by now
		}
		if !r.recoverBatch(left.Generation, &b, value, counted) {
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

// recoverBatch commits a batch from the journal, or keeps it in memory, and reports which.
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
	q := e.writer()
	if q == nil {
		var err error
		if q, err = r.addQueue(); err != nil {
			r.o.Logger.Warn("recovered events are held in memory", "epoch", e.id, "error", err)
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
			r.o.Logger.Warn("recovered events are held in memory", "epoch", e.id, "error", err)
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

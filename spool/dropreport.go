package spool

import (
	"errors"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Drops are also reported in the stream of events, so that readers of the events or the archive know how many responses are missing. A
// drop record contains the number of responses dropped for one reason since the epoch began. Only the last record for an epoch and a
// reason is valid. Its figure can be lower than the previous one's: see Set.Reconcile.

// reportedDrops are the cumulative figures that drop records have reported so far, by reason.
type reportedDrops [refusals]uint64

func (d *reportedDrops) byReason() map[string]uint64 {
	out, _ := byReason(func(r Refusal) uint64 { return d[r] })
	return out
}

func reportedOf(byReason map[string]uint64) (d reportedDrops) {
	for r := RefusedFull; r < refusals; r++ {
		d[r] = byReason[r.String()]
	}
	return d
}

// dropRecord returns the record that reports a figure.
func (c *committer) dropRecord(r Refusal, responses uint64) event.Event {
	return event.Event{
		TimeMicros: c.o.Now().UnixMicro(), Kind: event.KindDrop, ErrorType: []byte(r.String()), RequestBytes: responses,
	}
}

func (s *Set) unreported() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := RefusedFull; r < refusals; r++ {
		if s.current.counters.dropped(r) != s.current.reported[r] {
			return true
		}
	}
	return false
}

// reportDrops appends a drop record for each reason whose count has changed, while there is room.
func (c *committer) reportDrops(j *journal.Journal) {
	e := c.current
	for r := RefusedFull; r < refusals; r++ {
		n := e.counters.dropped(r)
		if n == e.reported[r] || j.Pending().Free == 0 {
			continue
		}
		record := c.dropRecord(r, n)
		if _, result := j.Append(&record); result == journal.Appended {
			c.mu.Lock()
			e.reported[r] = n
			c.mu.Unlock()
		}
	}
}

// reportClosedDrops writes drop records for an epoch without a journal. The epoch's process may have died before it reported all drops, and
// since then, more responses may have been found damaged, may have expired, or may have been counted again. The records form the last batch
// of the epoch. If no queue file can be written, the batch is kept in memory only, and the next process reports the same drops again. Such
// a repetition is harmless.
func (c *committer) reportClosedDrops(e *epoch) {
	builder := event.NewBatchBuilder(e.id)
	c.mu.Lock()
	now := e.reported
	b := entry{Batch: queue.Batch{First: max(e.lastSeq, e.acked) + 1}, at: c.o.Now()}
	for r := RefusedFull; r < refusals; r++ {
		n := e.counters.dropped(r)
		if n == now[r] {
			continue
		}
		record := c.dropRecord(r, n)
		payload := make([]byte, record.Size())
		if builder.Add(b.First+uint64(b.Records), payload[:record.Encode(payload)], false) != nil {
			continue // cannot happen: seqs ascend, and the record is complete
		}
		b.Records++
		now[r] = n
	}
	if b.Records == 0 {
		c.mu.Unlock()
		return
	}
	b.Last, b.Size = b.First+uint64(b.Records)-1, builder.Size()
	state := e.stateLocked(0, &b)
	state.Reported = now.byReason()
	q := e.writer()
	c.mu.Unlock()
	value := builder.Bytes()
	err := error(nil)
	if q != nil {
		if err = q.Commit(queue.Change{Batch: &b.Batch, Value: value, State: state}); err == nil {
			b.file = q
			e.counters.committed(state)
		} else if !errors.Is(err, queue.ErrFull) {
			c.commitFailed(err)
			q.Retire() // as after any failed commit
		}
	}
	if b.file == nil {
		b.cached = value
		c.o.Logger.Warn("cannot write drop records to the queue; keeping them in memory", "epoch", e.id, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.First <= max(e.lastSeq, e.acked) {
		e.reported = reportedDrops{} // Reconcile has set a higher seq in the meantime: the drops are reported again after that seq
		return
	}
	e.reported, e.lastSeq = now, b.Last
	e.index = append(e.index, b)
	c.changedLocked()
}

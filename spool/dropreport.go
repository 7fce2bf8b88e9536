package spool

import (
	"errors"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// Drops are reported in the stream of events as well, so that a reader of events or archive knows what is missing: by drop
// records, one for each reason, with the responses dropped for it since the epoch began. The last record of an epoch and reason
// counts: a figure becomes smaller if the consumer had taken what expired, see Reconcile.

// reportedDrops are the cumulative drops that drop records have reported, by reason.
type reportedDrops [refusals]uint64

func (t *reportedDrops) byReason() map[string]uint64 {
	var out map[string]uint64
	for r := RefusedFull; r < refusals; r++ {
		if t[r] == 0 {
			continue
		}
		if out == nil {
			out = make(map[string]uint64)
		}
		out[r.String()] = t[r]
	}
	return out
}

func reportedOf(byReason map[string]uint64) (t reportedDrops) {
	for r := RefusedFull; r < refusals; r++ {
		t[r] = byReason[r.String()]
	}
	return t
}

// dropRecord is the record that tells a figure.
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

// reportDrops appends a drop record for each reason whose count changed, while there is room.
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

// reportClosedDrops does the same for an epoch that no journal feeds any more: what its process counted and could not tell before it
// died, what was found lost, given up or reconciled since. The records follow everything else in a batch of their own, which is
// only in memory where no queue file can be written: the next process tells it again, which is harmless.
// The caller holds sem.
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
			continue // cannot be: it is the first, or one of a few short ones
		}
		b.Records++
		now[r] = n
	}
	if b.Records == 0 {
		c.mu.Unlock()
		return
	}
	b.Last, b.Size = b.First+uint64(b.Records)-1, builder.Size()
	m := e.stateLocked(0, &b)
	m.Reported = now.byReason()
	q := e.writer()
	c.mu.Unlock()
	value := builder.Bytes()
	err := error(nil)
	if q != nil {
		if err = q.Commit(queue.Change{Batch: &b.Batch, Value: value, State: m}); err == nil {
			b.file = q
			e.counters.committed(m)
		} else if !errors.Is(err, queue.ErrFull) {
			c.commitFailed(err)
			q.Retire() // as after any commit that failed: what it may have left there must not be built upon
		}
	}
	if b.file == nil {
		b.cached = value
		c.o.Logger.Warn("cannot write drop records to the queue; keeping them in memory", "epoch", e.id, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.First <= max(e.lastSeq, e.acked) {
		e.reported = reportedDrops{} // Reconcile went beyond it meanwhile: reported again, further on
		return
	}
	e.reported, e.lastSeq = now, b.Last
	e.index = append(e.index, b)
	c.changedLocked()
}

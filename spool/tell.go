package spool

import (
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/journal"
)

// What is dropped is told in the stream as well, so that whoever reads events or archive knows what is missing from them: by
// drop records, one for each reason, with the responses dropped for it since the epoch began. Of an epoch, the last one of a
// reason holds: a count goes down where the consumer had taken what was given up, see Settle.

// told are the cumulative drops that drop records have told, by reason.
type told [refusals]uint64

func (t *told) byReason() map[string]uint64 {
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

func toldOf(byReason map[string]uint64) (t told) {
	for r := RefusedFull; r < refusals; r++ {
		t[r] = byReason[r.String()]
	}
	return t
}

// dropRecord is the record that tells a figure.
func (s *Set) dropRecord(r Refusal, responses uint64) event.Event {
	return event.Event{
		TimeMicros: s.o.Now().UnixMicro(), Kind: event.KindDrop, ErrorType: []byte(r.String()), RequestBytes: responses,
	}
}

func (s *Set) untold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := RefusedFull; r < refusals; r++ {
		if s.current.counters.dropped(r) != s.current.reported[r] {
			return true
		}
	}
	return false
}

// tellDrops appends a drop record for each reason whose count changed, while there is room.
func (s *Set) tellDrops(j *journal.Journal) {
	e := s.current
	for r := RefusedFull; r < refusals; r++ {
		n := e.counters.dropped(r)
		if n == e.reported[r] || j.Pending().Free == 0 {
			continue
		}
		record := s.dropRecord(r, n)
		if _, result := j.Append(&record); result == journal.Appended {
			s.mu.Lock()
			e.reported[r] = n
			s.mu.Unlock()
		}
	}
}

// tellClosed does the same for an epoch that no journal feeds any more: what its process counted and could not tell before it
// died, what was found lost, given up or settled since. The records follow everything else in a batch of their own, which is
// only in memory where no queue file can be written: the next process tells it again, which is harmless.
// The caller holds sem.
func (s *Set) tellClosed(e *epoch) {
	builder := event.NewBatchBuilder(e.id)
	s.mu.Lock()
	now := e.reported
	b := entry{first: max(e.lastSeq, e.acked) + 1, at: s.o.Now()}
	for r := RefusedFull; r < refusals; r++ {
		n := e.counters.dropped(r)
		if n == now[r] {
			continue
		}
		record := s.dropRecord(r, n)
		payload := make([]byte, record.Size())
		if builder.Add(b.first+uint64(b.records), payload[:record.Encode(payload)], false) != nil {
			continue // cannot be: it is the first, or one of a few short ones
		}
		b.records++
		now[r] = n
	}
	if b.records == 0 {
		s.mu.Unlock()
		return
	}
	b.last, b.size = b.first+uint64(b.records)-1, builder.Size()
	m := e.metaLocked(0, &b)
	m.Told = now.byReason()
	q := e.writer()
	s.mu.Unlock()
	value := builder.Bytes()
	err := error(nil)
	if q != nil {
		if err = q.commit([]put{{b.key(), value}}, nil, m); err == nil {
			b.file = q
			e.counters.committed(m)
		} else if !isFull(err) {
			s.commitFailed(err)
			s.mu.Lock()
			q.readOnly = true // as after any commit that failed: what it may have left there must not be built upon
			s.mu.Unlock()
		}
	}
	if b.file == nil {
		b.cached = value
		s.o.Logger.Warn("what was dropped is told from memory", "epoch", e.id, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.first <= max(e.lastSeq, e.acked) {
		e.reported = told{} // Settle went beyond it meanwhile: it is told again, further on
		return
	}
	e.reported, e.lastSeq = now, b.last
	e.index = append(e.index, b)
	s.changedLocked()
}

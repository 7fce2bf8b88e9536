package spool

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Ledger is the account of one epoch. All figures are totals since the epoch began.
//
// Responses = Recorded + Excluded + the sum of Dropped. A response that is being appended while the ledger is read is not included, and
// neither are drop records.
type Ledger struct {
	Epoch     uuid.UUID         `json:"epoch"`
	Responses uint64            `json:"responses"`
	Recorded  uint64            `json:"recorded"`
	Excluded  uint64            `json:"excluded"`
	Spooled   uint64            `json:"spooled"` // recorded responses still in queue or journal that the consumer has not applied
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
	Closed    bool              `json:"closed"`   // nothing more will be appended
	LastSeq   uint64            `json:"last_seq"` // the highest seq assigned so far
}

// ledgerTries limits how often Ledgers reads the figures again to find a moment when no append is in flight.
const ledgerTries = 100

// Ledgers implements Source.
func (s *Set) Ledgers(_ context.Context, applied map[uuid.UUID]uint64) ([]Ledger, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Ledger, 0, len(s.epochs))
	for _, e := range s.epochs {
		spooled, err := e.spooledLocked(applied[e.id])
		if err != nil {
			return nil, fmt.Errorf("ledger of %s: %w", e.id, err)
		}
		if e == s.current {
			out = append(out, s.liveLedgerLocked(e, spooled))
			continue
		}
		l := e.closedLedgerLocked()
		l.Spooled = spooled
		out = append(out, l)
	}
	return out, nil
}

// closedLedgerLocked returns the ledger of a closed epoch, without Spooled.
func (e *epoch) closedLedgerLocked() Ledger {
	l := Ledger{Epoch: e.id, Recorded: e.recorded, Excluded: e.counters.excluded(), Closed: true, LastSeq: e.lastSeq}
	var dropped uint64
	l.Dropped, dropped = e.counters.droppedByReason()
	l.Responses = l.Recorded + l.Excluded + dropped
	return l
}

// Retired returns the final ledgers of the epochs that have been retired since Open. Ledgers no longer returns these.
func (s *Set) Retired() []Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.retired)
}

// liveLedgerLocked reads Recorded, Excluded and Dropped first, and the number of responses last. If an append is in flight, that number
// is larger than their sum, and everything is read again. If every attempt finds an append in flight, the response that is being appended
// is left out.
func (s *Set) liveLedgerLocked(e *epoch, spooled uint64) (l Ledger) {
	for range ledgerTries {
		l = Ledger{Epoch: e.id, Recorded: e.recorded, Spooled: spooled, LastSeq: e.lastSeq}
		for _, seg := range e.taken {
			_, responses := seg.Published()
			l.Recorded, l.Spooled = l.Recorded+responses, l.Spooled+responses
		}
		if j := s.journal.Load(); j != nil {
			p := j.Pending()
			l.Recorded, l.Spooled = l.Recorded+p.Responses, l.Spooled+p.Responses
			l.LastSeq = j.LastSeq()
		}
		var dropped uint64
		l.Excluded = e.counters.excluded()
		l.Dropped, dropped = e.counters.droppedByReason()
		responses := s.responses.Load()
		l.Responses = l.Recorded + l.Excluded + dropped
		if l.Responses == responses {
			break
		}
	}
	return l
}

// spooledLocked counts the committed responses with a seq above both the consumer's watermark and the acknowledged seq.
func (e *epoch) spooledLocked(applied uint64) (n uint64, err error) {
	through := max(applied, e.acked)
	for _, held := range [][]entry{e.expiring, e.index} {
		for i := range held {
			b := &held[i]
			switch {
			case b.First > through:
				n += uint64(b.Responses)
			case b.Last > through:
				part, err := b.responsesAfter(through)
				if err != nil {
					return 0, err
				}
				n += part
			}
		}
	}
	return n, nil
}

// responsesAfter counts the responses in a batch whose seq is higher than the given one. It may have to read the value from the file.
// This is rare: consumers acknowledge whole batches unless a batch fails.
func (b *entry) responsesAfter(seq uint64) (n uint64, err error) {
	raw, err := b.value()
	if err != nil {
		return 0, err
	}
	batch, err := event.ParseBatch(raw)
	if err != nil {
		return 0, err
	}
	for at, record := range batch.All() {
		if at > seq && event.IsResponseRecord(record) {
			n++
		}
	}
	return n, nil
}

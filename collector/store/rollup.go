package store

import (
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Sums of rows over longer spans, so that a query over a year does not read every hour. They are derived: a span's sums
// count only while its mark stands, the mark is written last, and whatever writes a row removes, in the same transaction,
// the marks of the spans that the row is in. Rows themselves stay as they are.
const (
	dayHours  = 24
	longDays  = 32 // days are summed to spans of so many, counted from 1970
	longHours = longDays * dayHours
	partHours = 6

	// rollupDelay is how long after its end a day is summed: events may come late.
	rollupDelay = 2 * time.Hour
	// rollupTime bounds the work that is done after one checkpoint.
	rollupTime = 500 * time.Millisecond
)

// tier is a kind of span.
type tier struct {
	hours      int64
	rows, mark byte // prefixes: of sums (span, name) and of marks (span)
}

var (
	dayTier  = tier{hours: dayHours, rows: prefixDayRow, mark: prefixDay}
	longTier = tier{hours: longHours, rows: prefixLongRow, mark: prefixLong}
	partTier = tier{hours: partHours, rows: prefixPartRow, mark: prefixPart} // see parts.go

	// tiers from the largest span to the smallest.
	tiers = [...]tier{longTier, dayTier, partTier}
)

// span is the number of the span that an hour is in.
func (t tier) span(hour int64) int64 {
	n := hour / t.hours
	if hour%t.hours < 0 {
		n--
	}
	return n
}

func (t tier) markKey(span int64) []byte { return appendHourKey(nil, t.mark, span) }

// dropMarks says that sums over an hour no longer count.
func dropMarks(txn *badger.Txn, hours map[int64]bool) error {
	for hour := range hours {
		for _, t := range tiers {
			key := t.markKey(t.span(hour))
			found, err := get(txn, key, func([]byte) error { return nil })
			if err != nil {
				return err
			}
			if found {
				if err := deleteKey(txn, key); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Rollup sums parts of recent days and days that are over and not summed, and spans all of whose days are, for at most the
// time given. It returns whether there is more to do.
func (s *Store) Rollup(ctx context.Context, most time.Duration) (more bool, err error) {
	if err := s.enter(); err != nil {
		return false, err
	}
	defer s.leave()
	s.rollupMu.Lock()
	defer s.rollupMu.Unlock()
	s.mu.Lock()
	first, found := s.firstHour()
	s.mu.Unlock()
	if !found {
		return false, nil
	}
	until := time.Now().Add(most)
	closed := hourOfMicros(s.o.Now().Add(-rollupDelay).UnixMicro())
	partsFrom := partTier.span(closed) - partsKept
	if err := s.dropParts(ctx, partsFrom); err != nil {
		return true, fmt.Errorf("remove sums of parts of days: %w", err)
	}
	for _, t := range [...]tier{partTier, dayTier, longTier} {
		from := t.span(first)
		if t == partTier {
			from = max(from, partsFrom)
		}
		for span := from; (span+1)*t.hours <= closed; span++ {
			if err := ctx.Err(); err != nil {
				return true, err //nolint:wrapcheck // the caller's own
			}
			s.mu.Lock()
			done := s.summed[t.mark][span]
			s.mu.Unlock()
			if done {
				continue
			}
			if time.Now().After(until) {
				return true, nil
			}
			if err := s.rollup(ctx, t, span); err != nil {
				return true, fmt.Errorf("sum up %d hours: %w", t.hours, err)
			}
		}
	}
	return false, nil
}

// rollup writes the sums of one span and then its mark, if no row of it was written meanwhile.
func (s *Store) rollup(ctx context.Context, t tier, span int64) error {
	marked := false
	err := s.view(func(txn *badger.Txn) (err error) {
		marked, err = get(txn, t.markKey(span), func([]byte) error { return nil })
		return err
	})
	if err != nil || marked {
		s.setSummed(t, span, marked)
		return err
	}
	s.mu.Lock()
	before := s.rowWrites
	busy := len(s.liveRange(span*t.hours, (span+1)*t.hours)) > 0
	s.mu.Unlock()
	if busy {
		return nil // rows of it are in memory; they leave soon
	}
	of := sums{}
	if err := s.view(func(txn *badger.Txn) error { return s.sumSpan(ctx, txn, t, span, of) }); err != nil {
		return err
	}
	if err := s.writeSums(t, span, of); err != nil {
		return err
	}
	// Under rowsMu no row is written; if none was since the sums were read, they are right.
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	s.mu.Lock()
	same := before == s.rowWrites
	s.mu.Unlock()
	if !same {
		return nil // next time
	}
	if err := s.update(func(txn *badger.Txn) error { return set(txn, t.markKey(span), []byte{1}) }); err != nil {
		return err
	}
	s.setSummed(t, span, true)
	return nil
}

// setSummed remembers marks, so that they need not be looked up again and again.
func (s *Store) setSummed(t tier, span int64, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.summed[t.mark] == nil {
		s.summed[t.mark] = map[int64]bool{}
	}
	if yes {
		s.summed[t.mark][span] = true
	} else {
		delete(s.summed[t.mark], span)
	}
}

// sumSpan adds up what is persisted of a span: days and their parts from hours, longer spans from days.
func (s *Store) sumSpan(ctx context.Context, txn *badger.Txn, t tier, span int64, of sums) error {
	if t.hours <= dayHours {
		return of.addRows(ctx, txn, piece{prefixRow, span * t.hours, (span + 1) * t.hours})
	}
	for day := span * longDays; day < (span+1)*longDays; day++ {
		marked, err := get(txn, dayTier.markKey(day), func([]byte) error { return nil })
		if err != nil {
			return err
		}
		if marked {
			err = of.addRows(ctx, txn, piece{prefixDayRow, day, day + 1})
		} else {
			err = of.addRows(ctx, txn, piece{prefixRow, day * dayHours, (day + 1) * dayHours})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeSums writes the sums of a span in transactions that fit.
func (s *Store) writeSums(t tier, span int64, of sums) error {
	sizeMax := int(s.db.MaxBatchSize() / 2)
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	for len(names) > 0 {
		err := s.update(func(txn *badger.Txn) error {
			for size := 0; len(names) > 0 && size < sizeMax; names = names[1:] {
				value := appendRow(nil, 0, of[names[0]])
				size += len(value) + len(names[0])
				if err := set(txn, append(appendHourKey(nil, t.rows, span), names[0]...), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

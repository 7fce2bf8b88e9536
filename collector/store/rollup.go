package store

import (
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
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
	keep       int64 // the number of spans that are kept, the latest; 0 for all
	rows, mark byte  // prefixes: of sums (span, name) and of marks (span)
}

var (
	dayTier  = tier{hours: dayHours, rows: prefixDayRow, mark: prefixDay}
	longTier = tier{hours: longHours, rows: prefixLongRow, mark: prefixLong}
	// The last 24 hours, which are asked for most, never contain a whole day. Sums of parts of recent days make their rows a
	// third as many, and cost nothing for ever.
	partTier = tier{hours: partHours, keep: 3 * dayHours / partHours, rows: prefixPartRow, mark: prefixPart}

	// sumTiers from the largest span to the smallest.
	sumTiers = [...]tier{longTier, dayTier, partTier}
	// tiers in the order in which they are made: longer spans are summed from days.
	tiers = [...]tier{partTier, dayTier, longTier}
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
	first, _, found := s.hoursHeld()
	s.mu.Unlock()
	if !found {
		return false, nil
	}
	until := time.Now().Add(most)
	closed := stats.HourOfMicros(s.o.Now().Add(-rollupDelay).UnixMicro())
	for _, t := range tiers {
		from, end := t.span(first), t.span(closed)
		if t.keep > 0 {
			from = max(from, end-t.keep)
			if err := s.dropOld(ctx, t, end-t.keep); err != nil {
				return true, fmt.Errorf("remove sums of %d hours: %w", t.hours, err)
			}
		}
		for span := from; span < end; span++ {
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
	if err := s.writeSpan(ctx, t, span); err != nil {
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

// writeSpan makes the sums of a span. What is there of an earlier time goes first: a name may be gone.
func (s *Store) writeSpan(ctx context.Context, t tier, span int64) error {
	if err := s.dropSpans(ctx, t.rows, span, span+1); err != nil {
		return err
	}
	w := spanWriter{s: s, prefix: appendHourKey(nil, t.rows, span)}
	err := s.view(func(txn *badger.Txn) error {
		of := sums{}
		if err := s.sumSpan(ctx, txn, t, span, of); err != nil {
			return err
		}
		for name, sum := range of {
			if err := w.put(name, appendRow(nil, 0, sum)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.flush()
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

// spanWriter writes values of a span by name, in transactions that fit.
type spanWriter struct {
	s       *Store
	prefix  []byte
	entries [][2][]byte
	size    int
}

func (w *spanWriter) put(name string, value []byte) error {
	w.entries = append(w.entries, [2][]byte{append(w.prefix[:len(w.prefix):len(w.prefix)], name...), value})
	w.size += len(name) + len(value)
	if w.size < int(w.s.db.MaxBatchSize()/2) && len(w.entries) < chunkRowsMax {
		return nil
	}
	return w.flush()
}

func (w *spanWriter) flush() error {
	err := w.s.inParts(context.Background(), len(w.entries), len(w.entries), func(txn *badger.Txn, from, to int) error {
		for _, e := range w.entries[from:to] {
			if err := set(txn, e[0], e[1]); err != nil {
				return err
			}
		}
		return nil
	})
	w.entries, w.size = nil, 0
	return err
}

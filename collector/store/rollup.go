package store

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Rollups are sums of rows over longer spans. With them, a query over a year does not have to read every hour. The original rows are
// kept. The sums of a span are valid only while the span has a mark. The mark is written last, and a transaction that writes a row also
// removes the marks of the row's spans.
type Rollups struct {
	*database
	rows *Statistics

	runMu    sync.Mutex     // held by Rollup, and while rows are being forgotten
	keptFrom map[byte]int64 // by tier: spans before this one have been removed; guarded by runMu

	mu     sync.Mutex
	summed map[byte]map[int64]bool // by prefix of the mark: spans that are known to have a mark; guarded by mu
}

const (
	dayHours     = 24
	longDays     = 32 // days in a long span, counted from 1970
	quarterHours = 6  // a quarter of a day

	// rollupDelay is the time between the end of a day and the summing of its rows. Events of that day may still arrive during this time.
	rollupDelay = 2 * time.Hour
	// rollupTime limits the time spent on sums after each checkpoint.
	rollupTime = 500 * time.Millisecond
)

// tier is a length of spans.
type tier struct {
	hours      int64
	keep       int64 // number of the latest spans that are kept; 0: all
	rows, mark byte  // prefixes of sums (span, name) and of marks (span)
}

var (
	// The range that is queried most, the last 24 hours, never contains a whole day. Sums of quarter days reduce the number of rows that
	// such a query reads to a third. Only the sums of recent quarter days are kept.
	quarterTier = tier{hours: quarterHours, keep: 3 * dayHours / quarterHours, rows: prefixQuarterRow, mark: prefixQuarter}
	dayTier     = tier{hours: dayHours, rows: prefixDayRow, mark: prefixDay}
	longTier    = tier{hours: longDays * dayHours, rows: prefixLongRow, mark: prefixLong}

	// tiers are in the order in which they must be summed: long spans are summed from days.
	tiers = [...]tier{quarterTier, dayTier, longTier}
)

// span returns the number of the span that contains an hour.
func (t tier) span(hour int64) int64 {
	n := hour / t.hours
	if hour%t.hours < 0 {
		n--
	}
	return n
}

func (t tier) markKey(span int64) []byte { return appendHourKey(nil, t.mark, span) }

// dropMarks invalidates the sums that include some hours.
func dropMarks(txn *badger.Txn, hours map[int64]bool) error {
	for hour := range hours {
		for _, t := range tiers {
			key := t.markKey(t.span(hour))
			found, err := has(txn, key)
			if err == nil && found {
				err = deleteKey(txn, key)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetMarks records in memory that dropMarks has removed marks.
func (r *Rollups) forgetMarks(hours map[int64]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for hour := range hours {
		for _, t := range tiers {
			delete(r.summed[t.mark], t.span(hour))
		}
	}
}

// isSummed reports whether a span is known to have a mark; if so, the mark need not be looked up.
func (r *Rollups) isSummed(t tier, span int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.summed[t.mark][span]
}

func (r *Rollups) setSummed(t tier, span int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.summed[t.mark] == nil {
		r.summed[t.mark] = map[int64]bool{}
	}
	r.summed[t.mark][span] = true
}

// Rollup sums recent quarter days, and days and long spans that have ended, unless they have already been summed. It stops when it has
// taken longer than limit, and reports whether there is more to do.
func (r *Rollups) Rollup(ctx context.Context, limit time.Duration) (more bool, err error) {
	if err := r.enter(); err != nil {
		return false, err
	}
	defer r.leave()
	r.runMu.Lock()
	defer r.runMu.Unlock()
	if err := r.rows.pruneMinutes(ctx); err != nil {
		return true, fmt.Errorf("remove minutes that are more than %d hours old: %w", MinuteHours, err)
	}
	first, _, found := r.rows.names.hours()
	if !found {
		return false, nil
	}
	until := time.Now().Add(limit)
	closed := stats.HourOfMicros(r.o.Now().Add(-rollupDelay).UnixMicro())
	for _, t := range tiers {
		from, end := t.span(first), t.span(closed)
		if t.keep > 0 {
			from = max(from, end-t.keep)
			if err := r.dropOld(ctx, t, end-t.keep); err != nil {
				return true, fmt.Errorf("remove sums of %d hours: %w", t.hours, err)
			}
		}
		for span := from; span < end; span++ {
			if err := ctx.Err(); err != nil {
				return true, err
			}
			if r.isSummed(t, span) {
				continue
			}
			if time.Now().After(until) {
				return true, nil
			}
			if err := r.rollup(ctx, t, span); err != nil {
				return true, fmt.Errorf("sum up %d hours: %w", t.hours, err)
			}
		}
	}
	return false, nil
}

// rollup writes the sums of one span, and then its mark if no row has been written in the meantime.
func (r *Rollups) rollup(ctx context.Context, t tier, span int64) error {
	marked := false
	err := r.view(func(txn *badger.Txn) (err error) {
		marked, err = has(txn, t.markKey(span))
		return err
	})
	if err != nil {
		return err
	}
	if marked {
		r.setSummed(t, span)
		return nil
	}
	before, busy := r.rows.writesAndLive(span*t.hours, (span+1)*t.hours)
	if busy {
		return nil // some rows of the span are in memory but will soon be evicted
	}
	if err := r.writeSpan(ctx, t, span); err != nil {
		return err
	}
	// While rowsMu is held, no row is written. If no row has been written since the sums were read, the sums are correct.
	r.rows.rowsMu.Lock()
	defer r.rows.rowsMu.Unlock()
	if now, _ := r.rows.writesAndLive(0, 0); now != before {
		return nil // the next call tries again
	}
	if err := r.update(func(txn *badger.Txn) error { return set(txn, t.markKey(span), []byte{1}) }); err != nil {
		return err
	}
	r.setSummed(t, span)
	return nil
}

// writesAndLive returns the number of transactions that have written rows, and whether any row of the hours [from, to) is live.
func (s *Statistics) writesAndLive(from, to int64) (writes uint64, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.live {
		live = live || key.Hour >= from && key.Hour < to
	}
	return s.rowWrites, live
}

// writeSpan writes the sums of a span. It first deletes the older sums of the span, because a name may have disappeared.
func (r *Rollups) writeSpan(ctx context.Context, t tier, span int64) error {
	if err := r.deleteSpans(ctx, t.rows, span, span+1); err != nil {
		return err
	}
	of := sums{}
	if err := r.view(func(txn *badger.Txn) error { return sumSpan(ctx, txn, t, span, of) }); err != nil {
		return err
	}
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	prefix := appendHourKey(nil, t.rows, span)
	return r.updateInChunks(ctx, len(names), rowsChunk, func(txn *badger.Txn, from, to int) error {
		for _, name := range names[from:to] {
			if err := set(txn, append(prefix[:len(prefix):len(prefix)], name...), appendRow(nil, 0, of[name])); err != nil {
				return err
			}
		}
		return nil
	})
}

// sumSpan adds up the stored rows of a span: quarter days and days from hours, long spans from days.
func sumSpan(ctx context.Context, txn *badger.Txn, t tier, span int64, of sums) error {
	if t.hours <= dayHours {
		return of.addRows(ctx, txn, piece{prefixRow, span * t.hours, (span + 1) * t.hours})
	}
	for day := span * longDays; day < (span+1)*longDays; day++ {
		p := piece{prefixRow, day * dayHours, (day + 1) * dayHours}
		if marked, err := has(txn, dayTier.markKey(day)); err != nil {
			return err
		} else if marked {
			p = piece{prefixDayRow, day, day + 1}
		}
		if err := of.addRows(ctx, txn, p); err != nil {
			return err
		}
	}
	return nil
}

// dropOld deletes the spans of a tier whose numbers are below the number before. The caller holds runMu.
func (r *Rollups) dropOld(ctx context.Context, t tier, before int64) error {
	if from, known := r.keptFrom[t.mark]; known && before <= from {
		return nil
	}
	for _, prefix := range [...]byte{t.mark, t.rows} { // marks first, because the sums of a span without a mark are not used
		if err := r.deleteSpans(ctx, prefix, math.MinInt64, before); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for span := range r.summed[t.mark] {
		if span < before {
			delete(r.summed[t.mark], span)
		}
	}
	r.keptFrom[t.mark] = before
	return nil
}

package store

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/collector/stats"
)

// Sums calls fn with every row name of the hours from fromHour up to but not including toHour and the sum of its rows, in
// no particular order. Key.Hour is fromHour. The row is fn's to keep. Days and longer spans that are over are read from
// their sums, so the work grows with the names and hardly with the range. What a batch applied meanwhile adds may be in
// some rows and not in others.
func (s *Store) Sums(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if fromHour >= toHour {
		return nil
	}
	s.mu.Lock()
	s.readers++ // before the view is taken: no row may leave memory that the view does not have
	live := s.liveRange(fromHour, toHour)
	first, found := s.firstHour()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.readers--
		s.mu.Unlock()
	}()
	if found {
		fromHour = max(fromHour, first)
	}
	q := sumQuery{s: s, live: map[int64][]sortedRow{}, sums: map[string]*stats.Sum{}}
	for _, row := range live {
		q.live[row.row.key.Hour] = append(q.live[row.row.key.Hour], row)
	}
	if err := s.view(func(txn *badger.Txn) error { return q.run(ctx, txn, fromHour, toHour) }); err != nil {
		return err
	}
	for name, sum := range q.sums {
		if sum.Count() == 0 {
			continue
		}
		key, err := parseName(name, fromHour)
		if err != nil {
			continue
		}
		if err := fn(key, sum.Row()); err != nil {
			return err
		}
	}
	return nil
}

// sumQuery adds up the rows of a range from the largest spans that have sums.
type sumQuery struct {
	s    *Store
	live map[int64][]sortedRow // by hour
	sums map[string]*stats.Sum
}

func (q *sumQuery) run(ctx context.Context, txn *badger.Txn, from, to int64) error {
	for from < to {
		took, err := q.spans(ctx, txn, from, to)
		if err != nil {
			return err
		}
		if took > 0 {
			from += took
			continue
		}
		end := min(to, (dayTier.span(from)+1)*dayHours)
		if err := q.hours(ctx, txn, from, end); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// spans adds the largest summed span that begins at an hour and ends within the range, and returns its length.
func (q *sumQuery) spans(ctx context.Context, txn *badger.Txn, from, to int64) (int64, error) {
	for _, t := range [...]tier{longTier, dayTier} {
		span := t.span(from)
		if span*t.hours != from || from+t.hours > to || q.hasLive(from, from+t.hours) {
			continue
		}
		marked, err := get(txn, t.markKey(span), func([]byte) error { return nil })
		if err != nil {
			return 0, err
		}
		if marked {
			return t.hours, addRows(ctx, txn, t.rows, span, span+1, q.sums)
		}
	}
	return 0, nil
}

func (q *sumQuery) hasLive(from, to int64) bool {
	for hour := range q.live {
		if hour >= from && hour < to {
			return true
		}
	}
	return false
}

// hours adds the rows of hours one by one. A row in memory takes the place of what is persisted of it.
func (q *sumQuery) hours(ctx context.Context, txn *badger.Txn, from, to int64) error {
	for from < to {
		end := from
		for end < to && len(q.live[end]) == 0 {
			end++
		}
		if end > from {
			if err := addRows(ctx, txn, prefixRow, from, end, q.sums); err != nil {
				return err
			}
			from = end
			continue
		}
		w := rowWalk{s: q.s, live: q.live[from], fn: func(k stats.Key, row *stats.Row) error {
			name := rowName(appendRowKey(nil, &k))
			sum := q.sums[string(name)]
			if sum == nil {
				sum = new(stats.Sum)
				q.sums[string(name)] = sum
			}
			sum.Add(row)
			return nil
		}}
		if err := w.walk(ctx, txn, from, from+1); err != nil {
			return err
		}
		from++
	}
	return nil
}

// getsMax is the number of single rows that RowsOf rather looks up than reads a range for.
const getsMax = 20_000

// RowsOf is Rows for the row names that keep wants, whose Hour is not set. A few names over many hours are looked up one by
// one.
func (s *Store) RowsOf(
	ctx context.Context, fromHour, toHour int64, keep func(stats.Key) bool, fn func(stats.Key, *stats.Row) error,
) error {
	names, gets := s.namesIn(fromHour, toHour, keep)
	if gets > getsMax {
		return s.Rows(ctx, fromHour, toHour, func(k stats.Key, row *stats.Row) error {
			hour := k.Hour
			if k.Hour = 0; !keep(k) {
				return nil
			}
			k.Hour = hour
			return fn(k, row)
		})
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.mu.Lock()
	s.readers++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.readers--
		s.mu.Unlock()
	}()
	return s.view(func(txn *badger.Txn) error {
		w := rowWalk{s: s, fn: fn}
		for hour := fromHour; hour < toHour; hour++ {
			if err := ctx.Err(); err != nil {
				return err //nolint:wrapcheck // the caller's own
			}
			for _, n := range names {
				if hour >= n.span.first && hour <= n.span.last {
					if err := w.lookUp(txn, n.key, hour); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

type namedSpan struct {
	key  stats.Key
	span nameSpan
}

// namesIn lists the names that are wanted, and the number of rows that they may have in the range.
func (s *Store) namesIn(from, to int64, keep func(stats.Key) bool) (names []namedSpan, rows int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, span := range s.names {
		first, last := max(span.first, from), min(span.last, to-1)
		if first > last {
			continue
		}
		key, err := parseName(name, 0)
		if key.Hour = 0; err != nil || !keep(key) {
			continue
		}
		names = append(names, namedSpan{key, span})
		rows += last - first + 1
	}
	return names, rows
}

// lookUp gives out one row, from memory or else from the database.
func (w *rowWalk) lookUp(txn *badger.Txn, key stats.Key, hour int64) error {
	key.Hour = hour
	w.s.mu.Lock()
	row := w.s.live[key]
	if row != nil {
		w.scratch.CopyFrom(&row.row)
	}
	w.s.mu.Unlock()
	if row != nil {
		if w.scratch.Count == 0 {
			return nil
		}
		return w.fn(key, &w.scratch)
	}
	dbKey := appendRowKey(nil, &key)
	_, err := get(txn, dbKey, func(value []byte) error { return w.persisted(dbKey, value) })
	return err
}

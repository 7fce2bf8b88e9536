package store

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Sums calls fn with every row name in the hours [fromHour, toHour) and the sum of its rows, in no particular order. Key.Hour is
// fromHour. fn may retain the row. For days and longer spans that have ended, Sums reads the sums of the span, so the work grows with the
// number of names, and hardly with the length of the range. Some rows may include a batch that is applied in the meantime, while others
// do not.
func (s *Statistics) Sums(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	defer s.keepLive()()
	first, last, found := s.names.hours()
	if fromHour >= toHour || !found {
		return nil
	}
	asked := fromHour
	fromHour, toHour = max(fromHour, first), min(toHour, last+1) // skips hours without rows
	q := sumQuery{s: s, live: map[int64][]sortedRow{}, sums: sums{}}
	live, _ := s.liveRange(fromHour, toHour)
	for _, row := range sorted(live) {
		q.live[row.row.key.Hour] = append(q.live[row.row.key.Hour], row)
	}
	if err := s.view(func(txn *badger.Txn) error { return q.run(ctx, txn, fromHour, toHour) }); err != nil {
		return err
	}
	for name, sum := range q.sums {
		if err := ctx.Err(); err != nil {
			return err
		}
		key, err := parseName(name, asked)
		if err != nil || sum.Count == 0 {
			continue
		}
		if err := fn(key, sum); err != nil {
			return err
		}
	}
	return nil
}

// sumQuery adds up the rows of a range, using the largest spans that have sums.
type sumQuery struct {
	s      *Statistics
	live   map[int64][]sortedRow // live rows by hour
	pieces []piece
	sums   sums
}

func (q *sumQuery) run(ctx context.Context, txn *badger.Txn, from, to int64) error {
	var walks []int64 // hours with live rows
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		taken, err := q.takeSpan(txn, from, to)
		if err != nil {
			return err
		}
		if taken > 0 {
			from += taken
			continue
		}
		for end := min(to, (quarterTier.span(from)+1)*quarterHours); from < end; from++ {
			if len(q.live[from]) > 0 {
				walks = append(walks, from)
			} else {
				q.pieces = addPiece(q.pieces, piece{prefixRow, from, from + 1})
			}
		}
	}
	if err := q.sums.addPieces(ctx, txn, q.pieces); err != nil {
		return err
	}
	for _, hour := range walks {
		if err := q.walk(ctx, txn, hour); err != nil {
			return err
		}
	}
	return nil
}

// takeSpan uses the largest summed span that begins at the hour from and ends within the range, and returns its length.
func (q *sumQuery) takeSpan(txn *badger.Txn, from, to int64) (int64, error) {
	for i := range tiers {
		t := tiers[len(tiers)-1-i]
		span := t.span(from)
		if span*t.hours != from || from+t.hours > to || q.hasLive(from, from+t.hours) {
			continue
		}
		marked, err := has(txn, t.markKey(span))
		if err != nil {
			return 0, err
		}
		if marked {
			q.pieces = addPiece(q.pieces, piece{t.rows, span, span + 1})
			return t.hours, nil
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

// walk adds the rows of an hour one by one, because a live row replaces the stored row with the same key.
func (q *sumQuery) walk(ctx context.Context, txn *badger.Txn, hour int64) error {
	w := rowWalk{s: q.s, live: q.live[hour], fn: func(k stats.Key, row *stats.Row) error {
		q.sums.of(rowName(appendRowKey(nil, &k))).Merge(row)
		return nil
	}}
	return w.walk(ctx, txn, hour, hour+1)
}

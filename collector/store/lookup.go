package store

import (
	"context"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// getsMax is the number of single rows that RowsOf rather looks up than reads a range for.
const getsMax = 20_000

// RowsOf is Rows for the row names that keep wants, whose Hour is not set. A few names over many hours are looked up one by
// one; whoever waits may ask for the halves of a range at a time.
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
		l := lookUps{s: s, ctx: ctx, txn: txn, names: names}
		return l.each(fromHour, toHour, l.giveTo(fn))
	})
}

// lookUps finds the rows of a few names, hour by hour.
type lookUps struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // of the one query
	txn   *badger.Txn
	names []namedSpan
	key   []byte // scratch
}

// foundRow is a row from memory or else, encoded, from the database.
type foundRow struct {
	key   stats.Key
	live  *stats.Row
	value []byte // valid during the call
}

// each calls fn with the rows of the hours [from, to), of which only those matter in which a name has rows.
func (l *lookUps) each(from, to int64, fn func(foundRow) error) error {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, n := range l.names {
		first, last = min(first, n.span.first), max(last, n.span.last)
	}
	for hour := max(from, first); hour < to && hour <= last; hour++ {
		for i, n := range l.names {
			if err := l.ctx.Err(); err != nil {
				return err //nolint:wrapcheck // the caller's own
			}
			if hour < n.span.first || hour > n.span.last {
				continue
			}
			if err := l.find(i, hour, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// find calls fn with the row of a name and an hour, if there is one: from memory, else looked up.
func (l *lookUps) find(name int, hour int64, fn func(foundRow) error) error {
	r := foundRow{key: l.names[name].key}
	r.key.Hour = hour
	if r.live = l.s.liveCopy(r.key); r.live != nil {
		return fn(r)
	}
	l.key = appendRowKey(l.key[:0], &r.key)
	_, err := get(l.txn, l.key, func(value []byte) error {
		r.value = value
		return fn(r)
	})
	return err
}

// liveCopy is a copy of a row in memory, or nil.
func (s *Store) liveCopy(key stats.Key) *stats.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.live[key]
	if row == nil {
		return nil
	}
	c := new(stats.Row)
	c.CopyFrom(&row.row)
	return c
}

// giveTo decodes found rows and gives them to fn, one at a time.
func (l *lookUps) giveTo(fn func(stats.Key, *stats.Row) error) func(foundRow) error {
	w := rowWalk{s: l.s, fn: fn}
	return func(r foundRow) error {
		if r.live == nil {
			return w.decoded(r.key, r.value)
		}
		if r.live.Count == 0 {
			return nil // made for a batch that was not committed
		}
		return fn(r.key, r.live)
	}
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

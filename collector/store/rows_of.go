package store

import (
	"context"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// getsMax is the maximum number of rows that RowsOf looks up individually. For more, it reads the whole range.
const getsMax = 20_000

// RowsOf is like Rows, but only for the names selected by keep, which is called with names that have no Hour. It is fast for a few names
// over many hours. A caller may query the two halves of a range in two goroutines.
func (s *Statistics) RowsOf(
	ctx context.Context, fromHour, toHour int64, keep func(stats.Key) bool, fn func(stats.Key, *stats.Row) error,
) error {
	names, gets := s.names.in(fromHour, toHour, keep)
	if gets > getsMax {
		return s.Rows(ctx, fromHour, toHour, func(k stats.Key, row *stats.Row) error {
			name := k
			if name.Hour = 0; !keep(name) {
				return nil
			}
			return fn(k, row)
		})
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	defer s.keepLive()()
	return s.view(func(txn *badger.Txn) error {
		l := lookups{ctx: ctx, txn: txn, names: names, out: rowWalk{s: s, fn: fn}}
		return l.each(fromHour, toHour)
	})
}

// lookups finds the rows of a few names, hour by hour.
type lookups struct {
	ctx   context.Context
	txn   *badger.Txn
	names []namedSpan
	out   rowWalk // receives the rows
	key   []byte  // scratch
}

// each calls the walk's function with the rows in the hours [from, to).
func (l *lookups) each(from, to int64) error {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, n := range l.names {
		first, last = min(first, n.span.first), max(last, n.span.last)
	}
	for hour := max(from, first); hour < to && hour <= last; hour++ {
		for _, n := range l.names {
			if err := l.ctx.Err(); err != nil {
				return err
			}
			if hour < n.span.first || hour > n.span.last {
				continue
			}
			n.key.Hour = hour
			if err := l.find(n.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// find calls the walk's function with the row of a key, if there is one. A row in memory takes precedence over the database.
func (l *lookups) find(key stats.Key) error {
	s := l.out.s
	s.mu.Lock()
	row := s.live[key]
	s.mu.Unlock()
	if row != nil { // the row stays live; see keepLive
		l.out.live = []sortedRow{{row: row}}
		return l.out.nextLive()
	}
	l.key = appendRowKey(l.key[:0], &key)
	_, err := get(l.txn, l.key, func(value []byte) error { return l.out.stored(key, value) })
	return err
}

type namedSpan struct {
	key  stats.Key
	span nameSpan
}

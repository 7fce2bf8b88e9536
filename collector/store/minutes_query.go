package store

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// AddMinutes adds the rows of the minutes [from, to) to rows chosen by the caller. It calls rowsOf once for each name, without an Hour.
// rowsOf returns nil to skip the name. Otherwise, it returns a function, which AddMinutes calls for each minute in which the name has
// responses, in no particular order; that function returns the row to which the minute is added. Minutes that are not kept have no rows
// (see MinutesKnown). Each response that was applied before the call is included exactly once.
func (s *Statistics) AddMinutes(ctx context.Context, from, to int64, rowsOf func(stats.Key) func(minute int64) *stats.Row) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	q := minuteQuery{ctx: ctx, s: s, rowsOf: rowsOf, known: map[string]func(int64) *stats.Row{}}
	txn := s.minutesAt(&q, from, to)
	defer txn.Discard()
	if q.from >= q.to {
		return nil
	}
	if err := q.addStored(txn); err != nil {
		return err
	}
	for i := range q.live {
		if add := q.of(q.live[i].name); add != nil {
			add(q.live[i].minute).Merge(q.live[i].row)
		}
	}
	return nil
}

// minutesAt begins a transaction, and copies those minutes of the range that have not been stored. The transaction and the copies show
// the store at the same moment.
func (s *Statistics) minutesAt(q *minuteQuery, from, to int64) *badger.Txn {
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	q.from, q.to = max(from, s.minutes.from), to
	first, last := stats.HourOfMinute(q.from), stats.HourOfMinute(to-1)
	for key, row := range s.live {
		if key.Hour < first || key.Hour > last {
			continue
		}
		for _, m := range row.minutes {
			if m.minute >= q.from && m.minute < q.to {
				copied := new(stats.Row)
				m.row.AddTo(copied)
				q.live = append(q.live, liveMinute{rowName(appendRowKey(nil, &key)), m.minute, copied})
			}
		}
	}
	return s.db.NewTransaction(false)
}

type liveMinute struct {
	name   []byte
	minute int64
	row    *stats.Row
}

// minuteQuery is one call to AddMinutes.
type minuteQuery struct {
	ctx      context.Context
	s        *Statistics
	from, to int64
	live     []liveMinute // minutes that are not in the database
	rowsOf   func(stats.Key) func(int64) *stats.Row
	known    map[string]func(int64) *stats.Row // results of rowsOf by name
}

// of returns what rowsOf returned for a name.
func (q *minuteQuery) of(name []byte) func(int64) *stats.Row {
	add, known := q.known[string(name)]
	if known {
		return add
	}
	if key, err := parseName(string(name), 0); err == nil {
		add = q.rowsOf(key)
	}
	q.known[string(name)] = add
	return add
}

// addStored adds the stored rows. It looks up a few names individually, but walks through the whole range if there are
// many.
func (q *minuteQuery) addStored(txn *badger.Txn) error {
	first, last := bucketOf(q.from), bucketOf(q.to-1)
	names, _ := q.s.names.in(stats.HourOfMinute(q.from), stats.HourOfMinute(q.to-1)+1, func(k stats.Key) bool {
		return q.of(rowName(appendRowKey(nil, &k))) != nil
	})
	if int64(len(names))*(last-first+1) > getsMax || len(names) == len(q.known) {
		return q.walk(txn, first, last)
	}
	for bucket := first; bucket <= last; bucket++ {
		if err := q.ctx.Err(); err != nil {
			return err
		}
		for i := range names {
			name := rowName(appendRowKey(nil, &names[i].key))
			_, err := get(txn, appendBucketKey(nil, bucket, name), func(value []byte) error { return q.add(bucket, name, value) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// walk adds the stored rows of all names.
func (q *minuteQuery) walk(txn *badger.Txn, first, last int64) error {
	end := orderedHour(last)
	return each(q.ctx, txn, []byte{prefixMinute}, appendHourKey(nil, prefixMinute, first), func(key, value []byte) error {
		if len(key) < 9 || binary.BigEndian.Uint64(key[1:]) > end {
			return errStop
		}
		return q.add(keyHour(key), rowName(key), value)
	})
}

// add adds a stored value. It skips a damaged value; Verify reports the damage.
func (q *minuteQuery) add(bucket int64, name, value []byte) error {
	rows := q.of(name)
	if rows == nil {
		return nil
	}
	err := eachMinute(value, bucket, func(minute int64, body []byte) error {
		if minute < q.from || minute >= q.to {
			return nil
		}
		return wrapDecode(rows(minute).AddEncoded(body))
	})
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrSchema) {
		q.s.o.Logger.Error("store: skipped damaged minutes; their responses are missing from the result", "bucket", bucket, "error", err)
		return nil
	}
	return err
}

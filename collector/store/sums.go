package store

import (
	"context"
	"encoding/binary"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// sums are sums of rows by the name of the row.
type sums map[string]*stats.Row

// of returns the sum of a name, which may be changed.
func (s sums) of(name []byte) *stats.Row {
	sum := s[string(name)]
	if sum == nil {
		sum = new(stats.Row)
		s[string(name)] = sum
	}
	return sum
}

// piece is a run of hours, days or longer spans: those with numbers in [from, to) under the prefix of their rows.
type piece struct {
	prefix   byte
	from, to int64
}

// addPiece appends a piece, joined to the last one where it follows that.
func addPiece(to []piece, p piece) []piece {
	if n := len(to); n > 0 && to[n-1].prefix == p.prefix && to[n-1].to == p.from {
		to[n-1].to = p.to
		return to
	}
	return append(to, p)
}

// halves divides pieces into two lists with as many hours, days or spans in each.
func halves(pieces []piece) (a, b []piece) {
	left := int64(0)
	for _, p := range pieces {
		left += p.to - p.from
	}
	left /= 2
	for _, p := range pieces {
		cut := min(max(left, 0), p.to-p.from)
		if cut > 0 {
			a = append(a, piece{p.prefix, p.from, p.from + cut})
		}
		if p.from+cut < p.to {
			b = append(b, piece{p.prefix, p.from + cut, p.to})
		}
		left -= cut
	}
	return a, b
}

// addPieces adds the rows of pieces, in two halves at a time: reading and adding is all work, and somebody waits for it.
func (s sums) addPieces(ctx context.Context, txn *badger.Txn, pieces []piece) error {
	mine, others := halves(pieces)
	other := sums{}
	err := AtOnce(
		func() error { return s.addAll(ctx, txn, mine) },
		func() error { return other.addAll(ctx, txn, others) },
	)
	for name, row := range other {
		if err != nil {
			return err
		}
		if sum := s[name]; sum != nil {
			sum.Merge(row)
		} else {
			s[name] = row
		}
	}
	return err
}

func (s sums) addAll(ctx context.Context, txn *badger.Txn, pieces []piece) error {
	for _, p := range pieces {
		if err := s.addRows(ctx, txn, p); err != nil {
			return err
		}
	}
	return nil
}

// addRows adds the rows of a piece to the sums of their names. A damaged row is left out: the accounting shows that.
func (s sums) addRows(ctx context.Context, txn *badger.Txn, p piece) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{p.prefix}
	it := txn.NewIterator(o)
	defer it.Close()
	limit := orderedHour(p.to)
	n := 0
	for it.Seek(appendHourKey(nil, p.prefix, p.from)); it.Valid(); it.Next() {
		item := it.Item()
		key := item.Key()
		if len(key) < 9 || binary.BigEndian.Uint64(key[1:]) >= limit {
			return nil
		}
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err() //nolint:wrapcheck // the caller's own
		}
		err := item.Value(func(value []byte) error {
			_, body, err := rowBody(value)
			if err != nil {
				return nil //nolint:nilerr // see above
			}
			return s.of(rowName(key)).AddEncoded(body)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

package store

import (
	"context"
	"encoding/binary"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sync/errgroup"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// sums maps the names of rows to the sums of their rows.
type sums map[string]*stats.Row

// of returns the sum of a name. The caller may change it.
func (s sums) of(name []byte) *stats.Row {
	sum := s[string(name)]
	if sum == nil {
		sum = new(stats.Row)
		s[string(name)] = sum
	}
	return sum
}

// piece is a range [from, to) of hours, days or longer spans, and the prefix of their rows.
type piece struct {
	prefix   byte
	from, to int64
}

// addPiece appends a piece, or extends the last one if that ends where the piece begins.
func addPiece(to []piece, p piece) []piece {
	if n := len(to); n > 0 && to[n-1].prefix == p.prefix && to[n-1].to == p.from {
		to[n-1].to = p.to
		return to
	}
	return append(to, p)
}

// halves divides pieces into two lists with equal numbers of hours, days or spans.
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

// addPieces adds the rows of pieces in two goroutines, because decoding and adding take nearly all the time of a query.
func (s sums) addPieces(ctx context.Context, txn *badger.Txn, pieces []piece) error {
	first, second := halves(pieces)
	other := sums{}
	var group errgroup.Group
	group.Go(guarded(func() error { return s.addAll(ctx, txn, first) }))
	group.Go(guarded(func() error { return other.addAll(ctx, txn, second) }))
	if err := group.Wait(); err != nil {
		return err
	}
	for name, row := range other {
		if sum := s[name]; sum != nil {
			sum.Merge(row)
		} else {
			s[name] = row
		}
	}
	return nil
}

func (s sums) addAll(ctx context.Context, txn *badger.Txn, pieces []piece) error {
	for _, p := range pieces {
		if err := s.addRows(ctx, txn, p); err != nil {
			return err
		}
	}
	return nil
}

// addRows adds the rows of a piece to the sums of their names. It skips a damaged row; the accounting shows how many responses are
// missing.
func (s sums) addRows(ctx context.Context, txn *badger.Txn, p piece) error {
	limit := orderedHour(p.to)
	return each(ctx, txn, []byte{p.prefix}, appendHourKey(nil, p.prefix, p.from), func(key, value []byte) error {
		if len(key) < 9 || binary.BigEndian.Uint64(key[1:]) >= limit {
			return errStop
		}
		_, body, err := rowBody(value)
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		return s.of(rowName(key)).AddEncoded(body)
	})
}

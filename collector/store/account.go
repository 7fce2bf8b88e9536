package store

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Account returns the totals and the number of responses summed over the rows, persisted and live, as of the same moment:
// Totals.Applied equals the sum unless a row is damaged. The sum is taken from the rows, never from a counter; what is
// remembered between calls are the sums of hours whose persisted rows have not changed since.
func (s *Store) Account(ctx context.Context) (Totals, uint64, error) {
	if err := s.enter(); err != nil {
		return Totals{}, 0, err
	}
	defer s.leave()
	// Under rowsMu no row is being written, so what is persisted and what the live rows know of it agree.
	s.rowsMu.Lock()
	defer s.rowsMu.Unlock()
	if err := s.sumHours(ctx); err != nil {
		return Totals{}, 0, fmt.Errorf("sum rows: %w", err)
	}
	sum := uint64(0)
	for _, n := range s.hourSums {
		sum += n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range s.live {
		sum += row.row.Count - row.persisted
	}
	return s.state.totals, sum, nil
}

// Totals returns the counters. To compare them with Aggregated use [Store.Account], which reads both at one moment.
func (s *Store) Totals() (Totals, error) {
	if err := s.enter(); err != nil {
		return Totals{}, err
	}
	defer s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.totals, nil
}

// Aggregated is the number of responses summed over the rows; see [Store.Account].
func (s *Store) Aggregated(ctx context.Context) (uint64, error) {
	_, sum, err := s.Account(ctx)
	return sum, err
}

// sumHours brings hourSums up to date. The caller holds rowsMu.
func (s *Store) sumHours(ctx context.Context) error {
	if s.hourSums == nil {
		sums := map[int64]uint64{}
		err := s.view(func(txn *badger.Txn) error { return sumRows(ctx, txn, []byte{prefixRow}, sums) })
		if err != nil {
			return err
		}
		s.hourSums = sums
		clear(s.stale)
		return nil
	}
	if len(s.stale) == 0 {
		return nil
	}
	return s.view(func(txn *badger.Txn) error {
		for hour := range s.stale {
			fresh := map[int64]uint64{}
			if err := sumRows(ctx, txn, appendHourKey(nil, prefixRow, hour), fresh); err != nil {
				return err
			}
			s.hourSums[hour] = fresh[hour]
			delete(s.stale, hour)
		}
		return nil
	})
}

// sumRows adds the counts of the rows below a prefix to sums, by hour. A damaged row counts nothing.
func sumRows(ctx context.Context, txn *badger.Txn, prefix []byte, sums map[int64]uint64) error {
	return each(txn, prefix, nil, func(key, value []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(key) < 9 {
			return nil
		}
		_, body, err := rowBody(value)
		if err != nil {
			return nil //nolint:nilerr // the missing count is what the accounting is to show
		}
		count, err := stats.CountOf(body)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		sums[decodeHour(binary.BigEndian.Uint64(key[1:]))] += count
		return nil
	})
}

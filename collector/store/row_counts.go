package store

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Account returns the totals, and the number of responses in all rows except those of imported logs, both as of the same moment.
// Totals.Applied equals that number unless a row is damaged. The number is always summed from the rows, never taken from a counter. Between
// calls, Account keeps only the sums of hours whose stored rows have not changed.
func (s *Store) Account(ctx context.Context) (Totals, uint64, error) {
	if err := s.enter(); err != nil {
		return Totals{}, 0, err
	}
	defer s.leave()
	rows := s.Statistics
	rows.rowsMu.Lock()
	defer rows.rowsMu.Unlock()
	if err := rows.sumHours(ctx); err != nil {
		return Totals{}, 0, fmt.Errorf("sum rows: %w", err)
	}
	sum := uint64(0)
	for _, n := range rows.hourSums {
		sum += n
	}
	s.Accounts.mu.Lock()
	defer s.Accounts.mu.Unlock()
	rows.mu.Lock()
	defer rows.mu.Unlock()
	for _, row := range rows.live { // never one of an imported log
		sum += row.row.Count - row.persisted
	}
	return s.counters.totals, sum, nil
}

// sumHours brings hourSums up to date. The caller holds rowsMu.
func (s *Statistics) sumHours(ctx context.Context) error {
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

// sumRows adds the counts of the rows that have a key prefix to sums, by hour. It skips rows of imported logs and damaged rows; the
// accounting shows how many responses are missing because of damage.
func sumRows(ctx context.Context, txn *badger.Txn, prefix []byte, sums map[int64]uint64) error {
	return each(ctx, txn, prefix, nil, func(key, value []byte) error {
		if _, body, err := rowBody(value); err == nil && len(key) >= 9 && !isImported(key) {
			if count, err := stats.CountOf(body); err == nil {
				sums[keyHour(key)] += count
			}
		}
		return nil
	})
}

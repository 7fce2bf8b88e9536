package store

import (
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// readMinutes adds the minutes of a row to those that will be added to another row.
func (m *rowMerge) readMinutes(txn *badger.Txn, dbKey []byte, into stats.Key) error {
	rows := m.minutes[into]
	if rows == nil {
		rows = map[int64]*stats.Row{}
		m.minutes[into] = rows
	}
	for bucket := into.Hour * hourBuckets; bucket < (into.Hour+1)*hourBuckets; bucket++ {
		key := appendBucketKey(nil, bucket, rowName(dbKey))
		found, err := get(txn, key, func(value []byte) error {
			return eachMinute(value, bucket, func(minute int64, body []byte) error {
				if rows[minute] == nil {
					rows[minute] = new(stats.Row)
				}
				return wrapDecode(rows[minute].AddEncoded(body))
			})
		})
		if err != nil && !errors.Is(err, ErrDamaged) { // damaged minutes are removed like all others
			return err
		}
		if found {
			m.buckets = append(m.buckets, key)
		}
	}
	return nil
}

// writeMergedMinutes writes the merged minutes and deletes the old ones, in the transaction that merges the rows.
func (s *Statistics) writeMergedMinutes(txn *badger.Txn, m *rowMerge) error {
	for _, key := range m.buckets {
		if err := deleteKey(txn, key); err != nil {
			return err
		}
	}
	w := minuteWriter{s: s, txn: txn}
	for key, rows := range m.minutes {
		if err := w.add(rowName(appendRowKey(nil, &key)), inOrder(rows)); err != nil {
			return err
		}
	}
	return nil
}

package store

import (
	"context"
	"errors"

	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// unstored counts the responses of a live row that are not in the database yet: those in the row, and those in its
// minutes.
type unstored struct{ row, minutes uint64 }

func unstoredOf(row *liveRow) unstored {
	n := unstored{row: row.row.Count - row.persisted}
	for _, m := range row.minutes {
		n.minutes += m.row.Count()
	}
	return n
}

// checkMinutes adds up the minutes of each hour and compares the sums with the rows of the hour. For stored rows, the sums must be equal
// in every field, down to the last histogram bin; for rows in memory, only the counts must be equal. The minutes of an incomplete hour
// (see [Statistics.MinutesKnown]) may add up to less.
func (v *verification) checkMinutes(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: checkOfMinutes, Of: "rows"}
	for key, n := range v.unstored {
		if !v.partial(key.Hour) && n.row != n.minutes {
			c.Problem("hour %d, %s %s %s: %d responses in the row have not been stored yet, but %d in its minutes", key.Hour, key.Method, key.Host, key.Label, n.row, n.minutes)
		}
	}
	hours := map[int64]bool{}
	err := each(ctx, v.txn, []byte{prefixRow}, appendHourKey(nil, prefixRow, stats.HourOfMinute(v.minutesFrom)), func(key, _ []byte) error {
		hours[keyHour(key)] = true
		return nil
	})
	if err != nil {
		return c, err
	}
	err = each(ctx, v.txn, []byte{prefixMinute}, appendHourKey(nil, prefixMinute, bucketOf(v.minutesFrom)), func(key, _ []byte) error {
		hours[stats.HourOfMinute(keyHour(key)*bucketMinutes)] = true
		return nil
	})
	for hour := range hours {
		if err == nil {
			err = v.minutesOf(ctx, c, hour)
		}
	}
	return c, err
}

// partial reports whether the minutes of an hour may add up to less than its rows.
func (v *verification) partial(hour int64) bool {
	return hour*stats.HourMinutes < v.minutesFrom || v.incomplete[hour]
}

// minutesOf compares the stored minutes of an hour with its stored rows.
func (v *verification) minutesOf(ctx context.Context, c *verify.Check, hour int64) error {
	found, err := v.sumMinutes(ctx, c, hour)
	if err != nil {
		return err
	}
	err = each(ctx, v.txn, appendHourKey(nil, prefixRow, hour), nil, func(key, value []byte) error {
		c.Checked++
		name := string(rowName(key))
		sum := found.of(rowName(key))
		delete(found, name)
		var row stats.Row
		if _, err := decodeRow(value, &row); err != nil {
			return nil //nolint:nilerr // checkRows reports it
		}
		if sum.Count > row.Count || !v.partial(hour) && !holdsRow(value, sum) {
			c.Problem("hour %d, %q: the row counts %d and its minutes %d; they must be equal to the last histogram bin", hour, name, row.Count, sum.Count)
		}
		return nil
	})
	for name, sum := range found {
		c.Problem("hour %d, %q: minutes count %d, but there is no row", hour, name, sum.Count)
	}
	return err
}

// sumMinutes adds up the stored minutes of an hour by name.
func (v *verification) sumMinutes(ctx context.Context, c *verify.Check, hour int64) (sums, error) {
	found := sums{}
	for bucket := hour * hourBuckets; bucket < (hour+1)*hourBuckets; bucket++ {
		err := each(ctx, v.txn, appendHourKey(nil, prefixMinute, bucket), nil, func(key, value []byte) error {
			sum := found.of(rowName(key))
			err := eachMinute(value, bucket, func(_ int64, body []byte) error { return wrapDecode(sum.AddEncoded(body)) })
			if errors.Is(err, ErrDamaged) || errors.Is(err, ErrSchema) {
				c.Problem("minutes %x cannot be read: %v", key, err)
				err = nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

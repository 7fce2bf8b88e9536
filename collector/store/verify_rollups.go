package store

import (
	"bytes"
	"context"

	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// checkRollups compares the sums of marked spans with the stored rows.
func (v *verification) checkRollups(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: checkOfSums, Of: "values"}
	for _, t := range tiers {
		var marked []int64
		err := each(ctx, v.txn, []byte{t.mark}, nil, func(key, _ []byte) error {
			if len(key) == 1+8 {
				marked = append(marked, keyHour(key))
			}
			return nil
		})
		if err != nil {
			return c, err
		}
		for _, span := range marked {
			if err := v.span(ctx, c, t, span); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

func (v *verification) span(ctx context.Context, c *verify.Check, t tier, span int64) error {
	want := sums{}
	if err := sumSpan(ctx, v.txn, t, span, want); err != nil {
		return err
	}
	found := 0 // number of sums that have rows
	for name, sum := range want {
		c.Checked++
		ok, err := get(v.txn, append(appendHourKey(nil, t.rows, span), name...), func(value []byte) error {
			if !holdsRow(value, sum) {
				c.Problem("%d hours from hour %d, %q: the sum differs from that of the rows", t.hours, span*t.hours, name)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !ok {
			c.Problem("%d hours from hour %d, %q: the sum is missing", t.hours, span*t.hours, name)
			continue
		}
		found++
	}
	held := 0
	err := each(ctx, v.txn, appendHourKey(nil, t.rows, span), nil, func(_, _ []byte) error { held++; return nil })
	if held != found {
		c.Problem("%d hours from hour %d: there are %d sums, but only %d of them have rows", t.hours, span*t.hours, held, found)
	}
	return err
}

// holdsRow reports whether a stored row has the same statistics as another row, whichever version the stored row was encoded in.
func holdsRow(value []byte, want *stats.Row) bool {
	var row stats.Row
	if _, err := decodeRow(value, &row); err != nil {
		return false
	}
	return bytes.Equal(appendRow(nil, 0, &row), appendRow(nil, 0, want))
}

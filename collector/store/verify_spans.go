package store

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// spans compares the sums whose marks stand with the persisted rows that they are made from.
func (v *verification) spans(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: checkOfSums, Of: "values"}
	for _, t := range tiers {
		var marked []int64
		err := eachKey(v.txn, []byte{t.mark}, func(key []byte) bool {
			if len(key) == 1+8 {
				marked = append(marked, decodeHour(binary.BigEndian.Uint64(key[1:])))
			}
			return true
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
	right := 0
	compare := func(name string, same func(value []byte) bool) error {
		c.Checked++
		found, err := get(v.txn, append(appendHourKey(nil, t.rows, span), name...), func(value []byte) error {
			if !same(value) {
				c.Problem("%d hours from hour %d, %q: not what its rows come to", t.hours, span*t.hours, name)
			}
			return nil
		})
		if right++; !found && err == nil {
			right--
			c.Problem("%d hours from hour %d, %q: missing", t.hours, span*t.hours, name)
		}
		return err
	}
	if err := v.remake(ctx, t, span, compare); err != nil {
		return err
	}
	held := 0
	err := eachKey(v.txn, appendHourKey(nil, t.rows, span), func([]byte) bool { held++; return true })
	if held != right {
		c.Problem("%d hours from hour %d: %d values, of which %d have rows", t.hours, span*t.hours, held, right)
	}
	return err
}

// remake makes the sums of a span again and gives each name to compare.
func (v *verification) remake(ctx context.Context, t tier, span int64, compare func(string, func([]byte) bool) error) error {
	want := sums{}
	if err := v.s.sumSpan(ctx, v.txn, t, span, want); err != nil {
		return err
	}
	for name, sum := range want {
		if err := compare(name, func(value []byte) bool { return holdsRow(value, sum) }); err != nil {
			return err
		}
	}
	return nil
}

// holdsRow reports whether a stored row has the statistics of another, in whatever version it was encoded.
func holdsRow(value []byte, want *stats.Row) bool {
	var row stats.Row
	_, body, err := rowBody(value)
	if err != nil || row.Decode(body) != nil {
		return false
	}
	return bytes.Equal(appendRow(nil, 0, &row), appendRow(nil, 0, want))
}

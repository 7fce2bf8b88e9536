package store

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// marksAndRuns checks that no event is held twice and none lies beyond its epoch's watermark.
func (v *verification) marksAndRuns(context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "watermarks", Of: "epochs", Checked: uint64(len(v.marks))}
	for epoch, runs := range v.runs {
		slices.SortFunc(runs, func(a, b catalogue.Run) int { return cmp.Compare(a.First, b.First) })
		for i := 1; i < len(runs); i++ {
			if runs[i].First <= runs[i-1].Last {
				c.Problem("epoch %s: events %d to %d are held twice", epoch, runs[i].First, min(runs[i].Last, runs[i-1].Last))
			}
		}
		mark, known := v.marks[epoch]
		if last := runs[len(runs)-1].Last; known && last > mark.seq {
			c.Problem("epoch %s: event %d is held, the watermark says %d", epoch, last, mark.seq)
		}
	}
	return c, nil
}

// hourlyDrops compares what is stored of drop records with those held. What has left for the archive may be ahead of them.
func (v *verification) hourlyDrops(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "hourly drops", Of: "hours"}
	err := each(v.txn, []byte{prefixDrops}, nil, func(key, value []byte) error {
		c.Checked++
		k, err := parseDropsKey(key)
		var told stats.Drops
		if err == nil {
			told, err = openDrops(value)
		}
		if err != nil {
			c.Problem("drops %x: %v", key, err)
			return ctx.Err()
		}
		for reason, held := range v.drops[k] {
			if known := told[reason]; known.Seq < held.Seq || known.Seq == held.Seq && known != held {
				c.Problem("hour %d, epoch %s: %d responses dropped (%s) as of event %d, the event %d held says %d",
					k.hour, k.epoch, known.Responses, reason, known.Seq, held.Seq, held.Responses)
			}
		}
		delete(v.drops, k)
		return ctx.Err()
	})
	for k := range v.drops {
		c.Problem("hour %d, epoch %s: drop records are held that no hour knows of", k.hour, k.epoch)
	}
	return c, err
}

// hours compares the rows with the recount.
func (v *verification) hours(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: checkOfRows, Of: "rows"}
	add := func(key stats.Key, count uint64) {
		c.Checked++
		v.rows[key.Hour] += count
		v.rowsTotal += count
		held := uint64(0)
		if n := v.held[key]; n != nil {
			held = *n
		}
		if held > count || (held < count && v.removed[key.Hour] == 0) {
			c.Problem("hour %d, %s %s %s: the row counts %d, the events held are %d", key.Hour, key.Method, key.Host, key.Label, count, held)
		}
		delete(v.held, key)
	}
	err := each(v.txn, []byte{prefixRow}, nil, func(key, value []byte) error {
		k, err := parseRowKey(key)
		if err == nil {
			if _, live := v.live[k]; live {
				return ctx.Err() // the row in memory is newer
			}
			var row stats.Row
			var body []byte
			if _, body, err = rowBody(value); err == nil {
				err = row.Decode(body)
			}
			if err == nil {
				add(k, row.Count)
			}
		}
		if err != nil {
			c.Problem("row %x cannot be read: %v", key, err)
		}
		return ctx.Err()
	})
	if err != nil {
		return c, err
	}
	for key, count := range v.live {
		if count > 0 { // a row is made before its batch is committed
			add(key, count)
		}
	}
	for key, held := range v.held {
		c.Problem("hour %d, %s %s %s: %d events are held, and there is no row", key.Hour, key.Method, key.Host, key.Label, *held)
	}
	hours := maps.Clone(v.rows)
	maps.Copy(hours, v.recount)
	for hour := range hours {
		if want := v.recount[hour] + v.removed[hour]; v.rows[hour] != want {
			c.Problem("hour %d: the rows add up to %d, the events to %d (%d held, %d deleted after archiving)",
				hour, v.rows[hour], want, v.recount[hour], v.removed[hour])
		}
	}
	return c, nil
}

// totals compares the counters with what was counted.
func (v *verification) totals(context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "totals", Of: "figures", Checked: 4}
	t := v.state.totals
	if t.Applied != v.rowsTotal {
		c.Problem("applied is %d, the rows add up to %d", t.Applied, v.rowsTotal)
	}
	if t.Archived != v.archived {
		c.Problem("archived is %d, the catalogue's verified plans add up to %d", t.Archived, v.archived)
	}
	if t.Deleted != v.deleted {
		c.Problem("deleted is %d, the catalogue's deleted plans add up to %d", t.Deleted, v.deleted)
	}
	applied := uint64(0)
	for _, mark := range v.marks {
		applied += mark.applied
	}
	if applied > t.Applied { // less, when watermarks of old epochs were forgotten
		c.Problem("applied is %d, the watermarks add up to %d", t.Applied, applied)
	}
	return c, nil
}

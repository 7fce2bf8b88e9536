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

// checkWatermarks checks that no event is stored twice and that none is above its epoch's watermark.
func (v *verification) checkWatermarks(context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "watermarks", Of: "epochs", Checked: uint64(len(v.marks))}
	for epoch, runs := range v.runs {
		slices.SortFunc(runs, func(a, b catalogue.Run) int { return cmp.Compare(a.First, b.First) })
		for i := 1; i < len(runs); i++ {
			if runs[i].First <= runs[i-1].Last {
				c.Problem("epoch %s: events %d to %d are stored twice", epoch, runs[i].First, min(runs[i].Last, runs[i-1].Last))
			}
		}
		mark, known := v.marks[epoch]
		if last := runs[len(runs)-1].Last; known && last > mark.seq {
			c.Problem("epoch %s: event %d is stored, but the watermark says %d", epoch, last, mark.seq)
		}
	}
	return c, nil
}

// checkDrops compares the stored figures of drop records with the records themselves. The figures can be newer if later records have been
// archived and deleted.
func (v *verification) checkDrops(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "hourly drops", Of: "hours"}
	err := each(ctx, v.txn, []byte{prefixDrops}, nil, func(key, value []byte) error {
		c.Checked++
		k, err := parseDropsKey(key)
		var stored stats.Drops
		if err == nil {
			stored, err = decodeDrops(value)
		}
		if err != nil {
			c.Problem("drops %x: %v", key, err)
			return nil
		}
		for reason, held := range v.drops[k] {
			if known := stored[reason]; known.Seq < held.Seq || known.Seq == held.Seq && known != held {
				c.Problem("hour %d, epoch %s: %d responses dropped (%s) as of event %d, but the stored event %d says %d",
					k.hour, k.epoch, known.Responses, reason, known.Seq, held.Seq, held.Responses)
			}
		}
		delete(v.drops, k)
		return nil
	})
	for k := range v.drops {
		c.Problem("hour %d, epoch %s: drop records are stored, but the hour has no figures for them", k.hour, k.epoch)
	}
	return c, err
}

// rowText returns the name of a row for messages.
func rowText(k stats.Key) string {
	text := k.Method + " " + k.Host + " " + k.Label
	if k.Route != "" {
		text += " (route " + k.Route + ")"
	}
	return text
}

// checkRows compares the rows with the recounted events.
func (v *verification) checkRows(ctx context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: checkOfRows, Of: "rows"}
	add := func(key stats.Key, count uint64) {
		c.Checked++
		if key.Route == stats.ImportedRoute { // not part of the accounting
			v.imported += count
			return
		}
		v.rows[key.Hour] += count
		v.rowsTotal += count
		held := uint64(0)
		if n := v.held[key]; n != nil {
			held = *n
		}
		if held > count || (held < count && v.removed[key.Hour] == 0) {
			c.Problem("hour %d, %s: the row counts %d, but %d events are stored", key.Hour, rowText(key), count, held)
		}
		delete(v.held, key)
	}
	err := each(ctx, v.txn, []byte{prefixRow}, nil, func(key, value []byte) error {
		k, err := parseRowKey(key)
		if err == nil {
			if _, live := v.live[k]; live {
				return nil // the row in memory is newer
			}
			var row stats.Row
			if _, err = decodeRow(value, &row); err == nil {
				add(k, row.Count)
			}
		}
		if err != nil {
			c.Problem("row %x cannot be read: %v", key, err)
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	for key, count := range v.live {
		if count > 0 { // otherwise, the row was created for a batch that has not been committed
			add(key, count)
		}
	}
	for key, held := range v.held {
		c.Problem("hour %d, %s: %d events are stored, but there is no row", key.Hour, rowText(key), *held)
	}
	hours := maps.Clone(v.rows)
	maps.Copy(hours, v.recount)
	for hour := range hours {
		if want := v.recount[hour] + v.removed[hour]; v.rows[hour] != want {
			c.Problem("hour %d: the rows add up to %d, but the events to %d (%d stored, %d deleted after archiving)",
				hour, v.rows[hour], want, v.recount[hour], v.removed[hour])
		}
	}
	return c, nil
}

// checkTotals compares the counters with the figures of the other steps.
func (v *verification) checkTotals(context.Context) (*verify.Check, error) {
	c := &verify.Check{Name: "totals", Of: "figures", Checked: 5}
	t := v.totals
	if t.Applied != v.rowsTotal {
		c.Problem("applied is %d, but the rows add up to %d", t.Applied, v.rowsTotal)
	}
	if t.Archived != v.archived {
		c.Problem("archived is %d, but the catalogue's verified plans add up to %d", t.Archived, v.archived)
	}
	if t.Deleted != v.deleted {
		c.Problem("deleted is %d, but the catalogue's deleted plans add up to %d", t.Deleted, v.deleted)
	}
	logs := uint64(0)
	if err := eachImportedLog(v.txn, func(l ImportedLog) { logs += l.Responses }); err != nil {
		c.Problem("imported logs: %v", err)
	} else if logs != v.imported {
		c.Problem("%d responses of access logs were imported, their rows add up to %d", logs, v.imported)
	}
	applied := uint64(0)
	for _, mark := range v.marks {
		applied += mark.applied
	}
	if applied > t.Applied { // applied can be less than t.Applied, because watermarks of old epochs are removed
		c.Problem("applied is %d, but the watermarks add up to %d", t.Applied, applied)
	}
	return c, nil
}

package failing

import (
	"context"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// usuals holds the usual figures of all rows. The whole hours are read again when the hour changes, and the minutes after them every
// usualMinutes.
type usuals struct {
	hour   int64 // the first hour that byHour does not include as a whole
	until  int64 // the first minute that is no longer included
	readAt int64 // the minute in which the hours were read
	rows   map[stats.Key]*usual
	base   map[stats.Key][2]uint64 // number of responses and errors in the whole hours
}

// usualMinutes is the number of minutes after which the minutes since the last whole hour are read again.
const usualMinutes = 5

// of returns the usual figures of a row.
func (u *usuals) of(k stats.Key) *usual {
	if found := u.rows[k]; found != nil {
		return found
	}
	return &usual{}
}

// refresh reads the usual figures again if that is due.
func (u *usuals) refresh(ctx context.Context, s Source, named func(stats.Key) stats.Key, minute int64) error {
	until := minute - usualGap
	hour := stats.HourOfMinute(until)
	if u.rows == nil || hour != u.hour {
		if err := u.readHours(ctx, s, named, hour); err != nil {
			u.rows = nil
			return err
		}
		u.hour, u.until, u.readAt = hour, hour*stats.HourMinutes, minute
	}
	if until-u.until < usualMinutes && until >= u.until && u.until > u.hour*stats.HourMinutes {
		return nil
	}
	return u.readMinutes(ctx, s, named, until)
}

// readHours reads the whole hours before the given one.
func (u *usuals) readHours(ctx context.Context, s Source, named func(stats.Key) stats.Key, hour int64) error {
	u.rows, u.base = map[stats.Key]*usual{}, map[stats.Key][2]uint64{}
	day := map[stats.Key]*stats.Row{}
	if err := addHours(ctx, s, named, day, hour-usualHours, hour); err != nil {
		return err
	}
	same := map[stats.Key]*stats.Row{}
	for days := int64(1); days <= slowDays; days++ {
		// hour began at least usualGap minutes ago, so it is either the current hour or the previous one.
		from := hour - days*24 - 1
		if err := addHours(ctx, s, named, same, from, min(from+3, hour)); err != nil {
			return err
		}
	}
	for k, row := range day {
		u.base[k] = [2]uint64{row.Count, row.Errors}
		u.rows[k] = &usual{count: row.Count, errors: row.Errors}
		u.rows[k].time(row)
	}
	for k, row := range same {
		if u.rows[k] == nil {
			u.rows[k] = &usual{}
		}
		if row.Count >= slowUsualMin {
			u.rows[k].time(row)
		}
	}
	return nil
}

// readMinutes adds the minutes after the whole hours.
func (u *usuals) readMinutes(ctx context.Context, s Source, named func(stats.Key) stats.Key, until int64) error {
	from := u.hour * stats.HourMinutes
	if from >= until {
		return nil
	}
	recent := map[stats.Key]*stats.Row{}
	err := s.AddMinutes(ctx, from, until, func(k stats.Key) func(int64) *stats.Row {
		k = named(k)
		return func(int64) *stats.Row { return rowOf(recent, k) }
	})
	if err != nil {
		return err
	}
	for k, row := range recent {
		of := u.rows[k]
		if of == nil {
			of = &usual{}
			u.rows[k] = of
		}
		base := u.base[k]
		of.count, of.errors = base[0]+row.Count, base[1]+row.Errors
		if base[0] == 0 && of.timed <= row.Count { // the row is in its first hour, so no better latency is available
			of.time(row)
		}
	}
	u.until = until
	return nil
}

// time takes the usual latency from a row if the row has enough responses.
func (u *usual) time(row *stats.Row) {
	if row.Count < slowUsualMin {
		return
	}
	u.p95, u.timed = row.Quantile(0.95), row.Count
	u.slowMicros = max(slowFactor*u.p95, u.p95+slowMicrosMin)
	u.slow = row.Latency.AtLeast(u.slowMicros)
}

// addHours adds the rows of some hours to rows.
func addHours(ctx context.Context, s Source, named func(stats.Key) stats.Key, rows map[stats.Key]*stats.Row, from, to int64) error {
	return s.Sums(ctx, from, to, func(k stats.Key, row *stats.Row) error {
		rowOf(rows, named(k)).Merge(row)
		return nil
	})
}

func rowOf(rows map[stats.Key]*stats.Row, k stats.Key) *stats.Row {
	row := rows[k]
	if row == nil {
		row = new(stats.Row)
		rows[k] = row
	}
	return row
}

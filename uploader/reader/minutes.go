package reader

import (
	"context"

	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// minutesBytesMax limits the memory for the minutes of an object. If the minutes need more, they are not refilled.
const minutesBytesMax = 32 << 20

// minuteFold folds the events of an object into minutes. Events are almost sorted by time, so a minute is encoded as soon as the next one
// begins; a late event produces a second row for its minute.
type minuteFold struct {
	at     int64 // the minute to which open belongs
	open   map[stats.Key]*stats.Row
	done   map[stats.Key][]stats.EncodedMinute
	totals map[stats.Key]*stats.Row
	bytes  int
}

// readMinutes returns the minutes of an object's rows, in the order of its keys. It reads them from the event object, because statistics
// objects have no minutes. It returns nil if the event object cannot be read, or if its responses are not exactly those of the rows, for
// example because some of its events have already been counted.
func (b *rebuilder) readMinutes(ctx context.Context, p *pair, keys []stats.Key, rows []*stats.Row) ([][]stats.EncodedMinute, error) {
	hour := stats.HourOf(p.Hour)
	f := minuteFold{open: map[stats.Key]*stats.Row{}, done: map[stats.Key][]stats.EncodedMinute{}, totals: map[stats.Key]*stats.Row{}}
	_, err := uploader.ScanEvents(ctx, b.t, p.Key, func(_ []byte, l *uploader.Line) error {
		e, name := l.Event(), l.Row()
		if !e.IsResponse() {
			return nil
		}
		if minute := stats.MinuteOfMicros(e.TimeMicros); minute != f.at {
			f.close()
			f.at = minute
		}
		k := stats.Key{Hour: hour, Host: name.Host, Method: name.Method, Label: name.Label, Route: name.Route}
		if f.open[k] == nil {
			f.open[k] = new(stats.Row)
		}
		f.open[k].Add(&e)
		if f.bytes > minutesBytesMax {
			return errTooManyRows
		}
		return nil
	})
	if err != nil {
		if Skippable(err) {
			return nil, nil
		}
		return nil, err
	}
	f.close()
	if len(f.totals) != len(keys) {
		return nil, nil
	}
	out := make([][]stats.EncodedMinute, len(keys))
	for i, k := range keys {
		if sum := f.totals[k]; sum == nil || !sum.Equal(rows[i]) {
			return nil, nil
		}
		out[i] = f.done[k]
	}
	return out, nil
}

// close encodes the open rows.
func (f *minuteFold) close() {
	for k, row := range f.open {
		text, _ := row.AppendBinary(nil) // its error is always nil
		f.done[k] = append(f.done[k], stats.EncodedMinute{Minute: f.at, Row: text})
		f.bytes += len(text)
		if f.totals[k] == nil {
			f.totals[k] = new(stats.Row)
		}
		f.totals[k].Merge(row)
	}
	clear(f.open)
}

package reader

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

func (b *rebuilder) row(k stats.Key) *stats.Row {
	if b.rows == nil {
		b.rows = map[stats.Key]*stats.Row{}
	}
	row := b.rows[k]
	if row == nil {
		row = &stats.Row{}
		b.rows[k] = row
		b.bytes += row.MemoryBytes() + len(k.Host) + len(k.Method) + len(k.Label) + len(k.Route)
	}
	return row
}

// errTooManyRows means that all rows of an hour are needed at the same time but do not fit into memory.
var errTooManyRows = errors.New("one hour has too many rows to be compared or refilled")

// relieve passes the rows to Hour before they take up too much memory. grown is the number of bytes that have just been added.
func (b *rebuilder) relieve(grown int) error {
	b.bytes += grown
	switch {
	case b.bytes < hourBytesMax, b.Whole && b.bytes < 2*hourBytesMax:
		return nil
	case b.Whole:
		return fmt.Errorf("%w: they need more than %d bytes of memory: rebuild them into a directory", errTooManyRows, 2*hourBytesMax)
	}
	b.flushed = true
	return b.flush()
}

func (b *rebuilder) endHour() error {
	if len(b.rows) > 0 || b.flushed {
		b.out.Hours++
	}
	b.flushed = false
	return b.flush()
}

// flush passes the rows to Hour.
func (b *rebuilder) flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	b.out.Rows += len(b.rows)
	keys := slices.SortedFunc(maps.Keys(b.rows), func(x, y stats.Key) int {
		return cmp.Or(cmp.Compare(x.Hour, y.Hour), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Method, y.Method), cmp.Compare(x.Label, y.Label),
			cmp.Compare(x.Route, y.Route))
	})
	rows := make([]*stats.Row, len(keys))
	for i, k := range keys {
		rows[i] = b.rows[k]
	}
	b.rows, b.bytes = nil, 0
	if b.Hour == nil {
		return nil
	}
	return b.Hour(keys, rows)
}

// drop processes a drop record. The number in a drop record counts from the beginning of the epoch, so only the latest record matters;
// objects are not read in the order of their events.
func (b *rebuilder) drop(p *pair, l *uploader.Line) {
	b.dropsAt(p).Note(l.ErrorType, stats.Drop{Seq: l.Seq, Responses: l.Dropped})
}

// dropsAt returns the drop records of the object's epoch and hour.
func (b *rebuilder) dropsAt(p *pair) stats.Drops {
	sum, hour := b.sum(p), stats.HourOf(p.Hour)
	if sum.Drops[hour] == nil {
		sum.Drops[hour] = stats.Drops{}
	}
	return sum.Drops[hour]
}

func (b *rebuilder) sum(p *pair) *EpochSum {
	sum := b.out.Epochs[p.Epoch]
	if sum == nil {
		sum = &EpochSum{Drops: map[int64]stats.Drops{}}
		b.out.Epochs[p.Epoch] = sum
	}
	return sum
}

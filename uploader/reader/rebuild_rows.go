package reader

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// hourRows are the rows of the hour that is being rebuilt. Their memory is bounded: emit receives them in several portions if they grow too
// large.
type hourRows struct {
	emit  func(keys []stats.Key, rows []*stats.Row) error // RebuildOptions.Hour; may be nil
	whole bool                                            // RebuildOptions.Whole
	out   *Rebuilt                                        // counts rows and hours

	rows    map[stats.Key]*stats.Row
	bytes   int  // estimated memory of the rows
	flushed bool // some rows of the hour have already been emitted
}

// hourBytesMax limits the memory for the rows of an hour.
const hourBytesMax = 32 << 20

func (h *hourRows) row(k stats.Key) *stats.Row {
	if h.rows == nil {
		h.rows = map[stats.Key]*stats.Row{}
	}
	row := h.rows[k]
	if row == nil {
		row = &stats.Row{}
		h.rows[k] = row
		h.bytes += row.MemoryBytes() + len(k.Host) + len(k.Method) + len(k.Label) + len(k.Route)
	}
	return row
}

// errTooManyRows means that all rows of an hour are needed at the same time but do not fit into memory.
var errTooManyRows = errors.New("one hour has too many rows to be compared or refilled")

// relieve emits the rows before they take up too much memory. grown is the number of bytes that have just been added.
func (h *hourRows) relieve(grown int) error {
	h.bytes += grown
	switch {
	case h.bytes < hourBytesMax, h.whole && h.bytes < 2*hourBytesMax:
		return nil
	case h.whole:
		return fmt.Errorf("%w: they need more than %d bytes of memory: rebuild them into a directory", errTooManyRows, 2*hourBytesMax)
	}
	h.flushed = true
	return h.flush()
}

func (h *hourRows) endHour() error {
	if len(h.rows) > 0 || h.flushed {
		h.out.Hours++
	}
	h.flushed = false
	return h.flush()
}

// flush emits the rows, in order.
func (h *hourRows) flush() error {
	if len(h.rows) == 0 {
		return nil
	}
	h.out.Rows += len(h.rows)
	keys := slices.SortedFunc(maps.Keys(h.rows), func(x, y stats.Key) int {
		return cmp.Or(cmp.Compare(x.Hour, y.Hour), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Method, y.Method), cmp.Compare(x.Label, y.Label),
			cmp.Compare(x.Route, y.Route))
	})
	rows := make([]*stats.Row, len(keys))
	for i, k := range keys {
		rows[i] = h.rows[k]
	}
	h.rows, h.bytes = nil, 0
	if h.emit == nil {
		return nil
	}
	return h.emit(keys, rows)
}

package stats

import "github.com/wayside-proxy/wayside/internal/event"

// bufferedMax limits the list of latencies of a [BufferedRow], to half a kilobyte.
const bufferedMax = 256

// BufferedRow counts responses like a [Row], but first collects their latencies in a list, and puts them into the bins later, many at
// once. It is meant for many rows with a few responses each. The bins of a thousand rows do not fit into the CPU's caches, so nearly
// every single addition would wait for memory. The zero value is an empty row, ready for use. It must not be copied after its first use,
// and is not safe for concurrent use.
type BufferedRow struct {
	row  Row
	late []uint16 // bins of latencies that are not in row.Latency
}

// Add adds one response. It ignores drop records, as [Row.Add] does.
func (b *BufferedRow) Add(e *event.Event) {
	if !e.IsResponse() {
		return
	}
	b.row.addCounts(e)
	latency := e.LatencyMicros()
	b.row.SumMicros += latency
	b.row.MaxMicros = max(b.row.MaxMicros, latency)
	if latency == 0 {
		b.row.Latency.AddBelow(1)
		return
	}
	if len(b.late) == bufferedMax {
		b.row.Latency.addBins(b.late)
		b.late = b.late[:0]
	}
	b.late = append(b.late, uint16(binOf(latency))) // less than binsMax
}

// Merge adds everything that o counted.
func (b *BufferedRow) Merge(o *Row) { b.row.Merge(o) }

// AddTo adds everything that b counted to a row, and does not change b.
func (b *BufferedRow) AddTo(row *Row) {
	row.Merge(&b.row)
	row.Latency.addBins(b.late)
}

// Count returns the number of responses.
func (b *BufferedRow) Count() uint64 { return b.row.Count }

// Reset empties the row and keeps its memory.
func (b *BufferedRow) Reset() {
	b.row.Reset()
	b.late = b.late[:0]
}

// addBins counts one latency in each of the given bins.
func (s *Sketch) addBins(bins []uint16) {
	if len(bins) == 0 {
		return
	}
	first, last := int(bins[0]), int(bins[0])
	for _, bin := range bins {
		first, last = min(first, int(bin)), max(last, int(bin))
	}
	if first < s.offset || last >= s.offset+len(s.low) {
		s.cover(first, last+1)
	}
	for _, bin := range bins {
		s.addAt(int(bin)-s.offset, 1)
	}
	s.total += uint64(len(bins))
}

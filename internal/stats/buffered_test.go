package stats

import (
	"math/rand/v2"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestBufferedRowEqualsRow: a buffered row counts exactly what a row counts, however many latencies wait in its list, and also when it
// is used again.
func TestBufferedRowEqualsRow(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var buffered BufferedRow
	for _, n := range []int{0, 1, 2, bufferedMax - 1, bufferedMax, bufferedMax + 1, 3*bufferedMax + 7} {
		events := append(sample(n, uint64(n)), event.Event{Kind: event.KindDrop})
		var want, merged, got Row
		for i := range events {
			if r.IntN(4) == 0 {
				events[i].DurationMicros = uint64(r.IntN(2)) // also below a microsecond
			}
			want.Add(&events[i])
			buffered.Add(&events[i])
		}
		for _, e := range sample(50, 99) {
			want.Add(&e)
			merged.Add(&e)
		}
		buffered.Merge(&merged)
		for range 2 { // AddTo does not change the buffered row
			got.Reset()
			buffered.AddTo(&got)
			if !got.Equal(&want) || got.Latency.Count() != want.Latency.Count() || buffered.Count() != want.Count {
				t.Fatalf("%d responses: the buffered row has %+v, the row %+v", n, &got, &want)
			}
		}
		buffered.Reset()
	}
}

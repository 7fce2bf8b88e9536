package collector

import (
	"fmt"
	"testing"
)

// BenchmarkDrain applies a backlog with 1,000 templates to a real store, a mebibyte per Peek. One iteration is one
// event.
func BenchmarkDrain(b *testing.B) {
	const perBatch = 4096
	r := newRig(b, nil)
	records := make([][]byte, perBatch)
	for i := range records {
		records[i] = r.request(fmt.Sprintf("/api/%c/r%c%c/%d", 'a'+i%4, 'a'+i%25, 'a'+i%7, i), 200)
	}
	r.source.add(r.epoch, records...)
	first := r.source.epoch(r.epoch).batches[0]
	r.source.epoch(r.epoch).batches = nil
	b.ReportAllocs()
	b.ResetTimer()
	done := 0
	for done < b.N {
		b.StopTimer()
		for range 2 {
			r.source.add(r.epoch, records...)
		}
		b.StartTimer()
		d, err := r.DrainOnce(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		r.upkeep(b.Context(), false)
		done += d.Events
	}
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(len(first.Bytes()))/perBatch, "B/record")
}

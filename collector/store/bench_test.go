package store

import (
	"context"
	"testing"

	"github.com/wayside-proxy/wayside/collector/store/block"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

const benchBatch = 4096

// nextRound moves a batch forward by its own length, so that it can be applied again without generating new events.
func nextRound(b *Batch) {
	n := uint64(len(b.Items))
	for i := range b.Items {
		b.Items[i].Seq += n
	}
	b.LastSeq += n
}

// BenchmarkApply measures the drain without peeking and labeling: block, compress, commit, fold. One op is one event.
func BenchmarkApply(b *testing.B) {
	s, err := Open(testOptions(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := plainTraffic(1).batch(benchBatch)
	apply(b, s, batch)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%benchBatch == 0 {
			nextRound(batch)
			apply(b, s, batch)
		}
	}
}

// BenchmarkEncode measures only blocks and compression, for a sidecar without routes and for an edge proxy. One op is
// one event.
func BenchmarkEncode(b *testing.B) {
	for name, traffic := range map[string]*traffic{"sidecar": plainTraffic(1), "edge": newTraffic(1)} {
		b.Run(name, func(b *testing.B) {
			a := newApplyBuffer()
			defer a.close()
			batch := traffic.batch(benchBatch)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%benchBatch == 0 {
					a.index(batch.Epoch, batch.Items)
					if err := a.encode(batch.Epoch, batch.Items, 1, testStart); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(len(a.bytes))/benchBatch, "B/event")
		})
	}
}

// BenchmarkDecode reads blocks, as replay and archiving do. One op is one event.
func BenchmarkDecode(b *testing.B) {
	a := newApplyBuffer()
	defer a.close()
	batch := plainTraffic(1).batch(block.EventsMax)
	a.index(batch.Epoch, batch.Items)
	if err := a.encode(batch.Epoch, batch.Items, 1, testStart); err != nil {
		b.Fatal(err)
	}
	encoded := a.blocks[0]
	d := block.NewDecoder()
	defer d.Close()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%block.EventsMax != 0 {
			continue
		}
		if err := d.Open(encoded.id, a.bytes[encoded.from:encoded.header]); err != nil {
			b.Fatal(err)
		}
		if err := d.Each(func(uint64, uint32, *event.Event) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFold measures only row lookup and folding. One op is one event.
func BenchmarkFold(b *testing.B) {
	batch := plainTraffic(1).batch(benchBatch)
	rows := map[stats.Key]*stats.Row{}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		it := &batch.Items[n%benchBatch]
		key := stats.Key{Hour: stats.HourOfMicros(it.Event.TimeMicros), Host: it.Host, Method: it.Method, Label: it.Label, Route: it.Route}
		row := rows[key]
		if row == nil {
			row = &stats.Row{}
			rows[key] = row
		}
		row.Add(&it.Event)
	}
}

// BenchmarkRows walks through 24 hours of 1,000 persisted rows. One op is one row.
func BenchmarkRows(b *testing.B) {
	s, err := Open(testOptions(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const hours, paths = 24, 1000
	fillHours(b, s, hours, paths)
	checkpoint(b, s)
	b.ReportAllocs()
	rows := 0
	for n := 0; b.Loop(); n++ {
		if n%(hours*paths) != 0 {
			continue
		}
		err := s.Rows(context.Background(), -1<<62, 1<<62, func(stats.Key, *stats.Row) error { rows++; return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	if rows%(hours*paths) != 0 {
		b.Fatalf("%d rows", rows)
	}
}

// fillHours applies a few events to each of many paths in each of many hours.
func fillHours(b testing.TB, s *Store, hours, paths int) {
	g := plainTraffic(2)
	labels := make([]string, paths)
	for i := range labels {
		labels[i] = routes[i%3].label + "/" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
	}
	for range hours {
		for range 4 {
			batch := g.batch(paths)
			for i := range batch.Items {
				batch.Items[i].Method, batch.Items[i].Label = "GET", labels[i]
			}
			apply(b, s, batch)
		}
		g.now += 3600 * 1e6
	}
}

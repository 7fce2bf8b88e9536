package store

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// BenchmarkMinutes measures the cost of minutes: two stores take the same events, one with minutes and one without. One
// op is one minute of traffic in batches of a second, followed by a checkpoint. µs/event is the difference in CPU time
// of the process, including the kernel's and the garbage collector's. share is the share of minutes in the store's
// bytes, with 48 hours of minutes and 72 hours of events.
func BenchmarkMinutes(b *testing.B) {
	for _, c := range []struct{ rate, paths int }{{300, 100}, {2_000, 100}, {2_000, 1_000}, {8_000, 1_000}} {
		b.Run(fmt.Sprintf("rate=%d/paths=%d", c.rate, c.paths), func(b *testing.B) { benchMinutes(b, c.rate, c.paths) })
	}
}

func benchMinutes(b *testing.B, rate, paths int) {
	g := newTraffic(2)
	g.step = int64(time.Second/time.Microsecond) / int64(rate)
	now := testStart
	open := func(minutesFrom int64) *Store {
		o := testOptions(b.TempDir())
		o.Now = func() time.Time { return now }
		s, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		if minutesFrom > 0 {
			s.minutes.from = minutesFrom
		}
		return s
	}
	with, without := open(0), open(math.MaxInt64)
	labels := make([]string, paths)
	for i := range labels {
		labels[i] = fmt.Sprintf("%s/part%d", routes[i%3].label, i)
	}
	events := uint64(0)
	var cost [2]time.Duration
	minute := func(turn int) {
		batches := make([]*Batch, 60)
		for i := range batches {
			batches[i] = g.batch(min(rate, MaxItems))
			for n := range batches[i].Items {
				// Half of the traffic goes to a tenth of the paths.
				part := g.r.IntN(paths)
				if g.r.IntN(2) == 0 {
					part = g.r.IntN(max(paths/10, 1))
				}
				batches[i].Items[n].Method, batches[i].Items[n].Label = "GET", labels[part]
			}
		}
		for i := range 2 {
			s := [...]*Store{with, without}[(i+turn)%2]
			before := processTime(b)
			for _, batch := range batches {
				apply(b, s, batch)
			}
			checkpoint(b, s)
			cost[(i+turn)%2] += processTime(b) - before
		}
		events += uint64(60 * rate)
		now = time.UnixMicro(g.now)
	}
	minute(0)
	cost, events = [2]time.Duration{}, 0
	for n := 0; b.Loop(); n++ {
		minute(n)
	}
	b.StopTimer()
	per := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(events) }
	b.ReportMetric(per(cost[1]), "µs/event-without")
	b.ReportMetric(per(cost[0]-cost[1]), "µs/event")
	minutes, blocks := float64(bytesOf(b, with, prefixMinute)), float64(bytesOf(b, with, prefixBlock)+bytesOf(b, with, prefixPending))
	b.ReportMetric(minutes/float64(events), "B/event")
	b.ReportMetric(blocks/float64(events), "B/event-events")
	b.ReportMetric(48*minutes/(48*minutes+72*blocks), "share")
	b.ReportMetric(0, "ns/op")
}

// bytesOf returns the size of the keys and values with a prefix.
func bytesOf(b *testing.B, s *Store, prefix byte) (n int64) {
	err := s.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte{prefix}
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n += it.Item().EstimatedSize()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// processTime returns the CPU time that this process has used.
func processTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

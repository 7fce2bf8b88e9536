package spool

import (
	"context"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

func benchOptions(b *testing.B) Options {
	b.Helper()
	o := testOptions(b.TempDir())
	o.SegmentBytes, o.Segments, o.CommitInterval = 1<<20, 8, 100*time.Millisecond
	return o
}

// BenchmarkTryAppend appends without pause while the committer runs and a reader acknowledges. Events that are refused because the disk is
// slower than the loop are reported as refused/op.
func BenchmarkTryAppend(b *testing.B) {
	s := openSet(b, benchOptions(b))
	running(b, s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			batches, err := s.Peek(ctx, PeekOptions{MinEvents: 4096, MaxWait: time.Second})
			if err != nil {
				return
			}
			if n := len(batches); n > 0 {
				_ = s.Ack(ctx, batches[0].Epoch, batches[n-1].LastSeq)
			}
		}
	}()
	e, refused := sample(1), 0
	b.ReportAllocs()
	for b.Loop() {
		if _, r := s.TryAppend(e); r != Accepted {
			refused++
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(refused)/float64(b.N), "refused/op")
	cancel()
	<-done
}

// BenchmarkCommit appends 4000 events and commits them: one operation is one event.
func BenchmarkCommit(b *testing.B) {
	s := openSet(b, benchOptions(b))
	e := sample(1)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, r := s.TryAppend(e); r != Accepted {
			b.Fatal(r)
		}
		if n++; n%4000 == 0 {
			mustFlush(b, s)
			b.StopTimer()
			_ = s.Ack(context.Background(), s.Epoch(), uint64(n))
			b.StartTimer()
		}
	}
}

// BenchmarkPeekAck drains a backlog from the queue file: one operation is one event.
func BenchmarkPeekAck(b *testing.B) {
	s := openSet(b, benchOptions(b))
	const backlog = 400_000
	e := sample(1)
	fill := func() {
		for i := range backlog {
			if _, r := s.TryAppend(e); r != Accepted {
				b.Fatal(r)
			}
			if i%4000 == 0 {
				mustFlush(b, s)
			}
		}
		mustFlush(b, s)
	}
	b.ReportAllocs()
	left := 0
	for n := 0; b.Loop(); n++ {
		if left == 0 {
			b.StopTimer()
			fill()
			b.StartTimer()
			for left < backlog {
				batches, err := s.Peek(context.Background(), PeekOptions{})
				if err != nil || len(batches) == 0 {
					b.Fatal(err, len(batches))
				}
				left += int(drainBatches(b, s, batches))
			}
		}
		left--
	}
}

func drainBatches(b *testing.B, s *Set, batches []event.Batch) (n uint32) {
	b.Helper()
	for _, batch := range batches {
		n += batch.Records
	}
	if err := s.Ack(context.Background(), batches[0].Epoch, batches[len(batches)-1].LastSeq); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkSyncEachResponse waits for the fsync of each event, from 64 goroutines per core.
func BenchmarkSyncEachResponse(b *testing.B) {
	o := benchOptions(b)
	o.SyncEachResponse = true
	s := openSet(b, o)
	running(b, s)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		e := sample(1)
		for pb.Next() {
			s.Record(e)
		}
	})
}

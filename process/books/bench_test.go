package books

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool"
)

// BenchmarkSecond does everything that the books process does with one second of traffic to 1,000 templates: it applies the events, builds a
// snapshot, and archives the events to a directory. The metric is CPU time per event, including the kernel's and the garbage collector's.
func BenchmarkSecond(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(booksGCPercent))
	for _, rate := range []int{2_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) { benchSecond(b, rate) })
	}
}

func benchSecond(b *testing.B, rate int) {
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": b.TempDir()}})
	if err != nil {
		b.Fatal(err)
	}
	cfg.Archive.Schedule = "@every 1s"
	cfg.Collector.Snapshot.Batches = min(cfg.Collector.Snapshot.Batches, (rate+benchBatch-1)/benchBatch) // at least one snapshot a second
	source := &benchSource{epoch: uuid.Must(uuid.NewV7()), batches: make(chan event.Batch), acked: make(chan uint64, 1)}
	books, err := open(b.Context(), cfg, source, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	loops, stop := context.WithCancel(b.Context())
	books.loops.Go(func() { _ = books.collector.Run(loops) })
	defer func() {
		stop()
		books.loops.Wait()
		_ = books.close()
	}()
	random := rand.New(rand.NewPCG(1, 2))
	var used time.Duration
	seconds := 0
	second := func(rate int) {
		batches := source.second(b, random, rate)
		before := cpuTime(b)
		for _, batch := range batches {
			source.batches <- batch
			for seq := range source.acked {
				if seq == batch.LastSeq {
					break
				}
			}
		}
		if r, err := books.uploader.ArchiveOnce(b.Context(), true); err != nil || int(r.Rows) != rate {
			b.Fatalf("archived %d of %d: %v", r.Rows, rate, err)
		}
		if seconds++; seconds%benchCheckpoint == 0 {
			if err := books.store.Checkpoint(); err != nil {
				b.Fatal(err)
			}
		}
		used += cpuTime(b) - before
	}
	second(100_000) // warm up: the first hundred events of a template also change what is known about it
	used, seconds = 0, 0
	for b.Loop() {
		second(rate)
	}
	b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(seconds*rate), "cpu-µs/event")
}

// benchSource gives batches to the collector when the benchmark tells it to.
type benchSource struct {
	epoch   uuid.UUID
	seq     uint64
	batches chan event.Batch
	acked   chan uint64
	record  [event.SizeMax]byte // scratch buffer
}

// benchCheckpoint is the number of seconds between checkpoints, the store's default.
const benchCheckpoint = 10

// benchBatch is the number of events for which the collector waits, but no longer than a second.
const benchBatch = 4096

// second makes the events of one second.
func (s *benchSource) second(b *testing.B, random *rand.Rand, rate int) (batches []event.Batch) {
	b.Helper()
	start := time.Now().Add(-time.Second).UnixMicro()
	for done := 0; done < rate; done += benchBatch {
		builder := event.NewBatchBuilder(s.epoch)
		for i := done; i < min(done+benchBatch, rate); i++ {
			s.seq++
			if err := builder.Add(s.seq, s.encode(random, start+int64(i)*1_000_000/int64(rate)), true); err != nil {
				b.Fatal(err)
			}
		}
		batch, err := event.ParseBatch(builder.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		batches = append(batches, batch)
	}
	return batches
}

func (s *benchSource) encode(random *rand.Rand, at int64) []byte {
	route := s.seq % 1000
	e := event.Event{
		TimeMicros: at, Kind: event.KindRequest, Status: 200, Method: []byte("GET"), Host: []byte("shop.example.com"),
		Path:     fmt.Appendf(nil, "/area%d/thing%c%c/%d", route/40, 'a'+route%40/8, 'a'+route%8, random.IntN(50_000)),
		Upstream: []byte("127.0.0.1:8080"), Protocol: []byte("1.1"), Client: fmt.Appendf(nil, "10.%d.%d.0", random.IntN(8), random.IntN(256)),
		DurationMicros: uint64(400 * (1 + random.ExpFloat64()*2)), ResponseBytes: 200 + route*7,
	}
	e.TTFBMicros = e.DurationMicros - uint64(random.IntN(60))
	if random.IntN(100) == 0 {
		e.Status, e.ErrorType = 502, []byte("connect_refused")
	}
	return s.record[:e.Encode(s.record[:])]
}

func (s *benchSource) Peek(ctx context.Context, o spool.PeekOptions) ([]event.Batch, error) {
	select {
	case batch := <-s.batches:
		return []event.Batch{batch}, nil
	case <-time.After(o.MaxWait):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *benchSource) Ack(_ context.Context, _ uuid.UUID, seq uint64) error {
	s.acked <- seq
	return nil
}

func (s *benchSource) Ledgers(context.Context, map[uuid.UUID]uint64) ([]spool.Ledger, error) {
	return nil, nil
}

func (s *benchSource) Reconcile(context.Context, uuid.UUID, uint64, uint64) (uint64, error) {
	return 0, nil
}
func (s *benchSource) Retire(context.Context, uuid.UUID) error       { return nil }
func (s *benchSource) Publish(context.Context, string, []byte) error { return nil }
func (s *benchSource) Fetch(context.Context, string) ([]byte, error) { return nil, nil }

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package failing

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
)

// BenchmarkCheck measures a check with a thousand paths that each have ten responses a minute, in a store with three hours of them.
func BenchmarkCheck(b *testing.B) {
	dir, now := b.TempDir(), incident0
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	seq := uint64(0)
	for range 360 {
		batch := &store.Batch{Epoch: uuid.UUID{1}}
		for i := range 5_000 {
			seq++
			path := fmt.Sprintf("/path/%d", i%1000)
			batch.Items = append(batch.Items, store.Item{Seq: seq, Host: "shop", Method: "GET", Label: path, Event: event.Event{
				TimeMicros: now.Add(time.Duration(i) * 6 * time.Millisecond).UnixMicro(), Kind: event.KindRequest, Status: 200,
				DurationMicros: uint64(5000 + 17*(i%977)), Method: []byte("GET"), Host: []byte("shop"), Path: []byte(path),
			}})
		}
		batch.LastSeq = seq
		if err := s.Apply(batch); err != nil {
			b.Fatal(err)
		}
		now = now.Add(30 * time.Second)
	}
	if err := s.Checkpoint(); err != nil {
		b.Fatal(err)
	}
	w := New(Options{Source: s, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	began := time.Now()
	if err := w.Check(b.Context()); err != nil {
		b.Fatal(err)
	}
	first := time.Since(began)
	for b.Loop() {
		if err := w.Check(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(first.Microseconds())/1000, "ms/first") // with the usual of all paths
}

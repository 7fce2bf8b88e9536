package spool

import (
	"context"
	"sync"
	"testing"
)

// writers record at the same time. Each may have counted a response in memory and not in the ledger yet, when it is interrupted.
const writers = 4

// TestBackup: copies that are made while four goroutines record. Each opens, its figures add up, nothing in it counts as damaged, and it has
// every response that was recorded before it began.
func TestBackup(t *testing.T) {
	o := testOptions(t.TempDir())
	o.QueueBytesMax = 8 << 20 // it is full after a moment; then responses count as dropped
	s := openSet(t, o)
	s.Record(sample(0)) // an epoch without responses is not recovered
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = s.Run(ctx) })
	for range writers {
		parts.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				s.Record(sample(i))
				if i%16 == 0 {
					s.Exclude()
				}
			}
		})
	}
	defer parts.Wait()
	defer cancel()
	for i := range 5 {
		before, err := s.Ledgers(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		copied := testOptions(t.TempDir())
		copied.QueueBytesMax = o.QueueBytesMax
		b, err := s.BeginBackup(ctx, copied.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Finish(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		restored := openSet(t, copied)
		ledgers, err := restored.Ledgers(ctx, nil)
		if err != nil || len(ledgers) != 2 {
			t.Fatalf("%+v, %v", ledgers, err)
		}
		got, had := ledgers[0], before[len(before)-1]
		dropped := uint64(0)
		for _, n := range got.Dropped {
			dropped += n
		}
		if got.Epoch != had.Epoch || got.Recorded < had.Recorded || got.Excluded+writers < had.Excluded || got.Dropped["damaged"] != 0 ||
			got.Responses != got.Recorded+got.Excluded+dropped || got.Spooled != got.Recorded {
			t.Fatalf("copy %d has %+v; before it there was %+v", i, got, had)
		}
		if err := restored.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

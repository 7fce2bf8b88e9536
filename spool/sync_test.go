package spool

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
)

// TestNobodyIsToldTooEarly: with spool.sync: request, whoever is told that an event is on the disk finds it committed. Segments
// are small and fill while others are being committed: one that was sealed in between is not, and its events wait on.
func TestNobodyIsToldTooEarly(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SyncEachResponse = true
	s := openSet(t, o)
	running(t, s)
	var early, told atomic.Uint64
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			e := sample(w)
			e.Path = bytes.Repeat([]byte("/segment"), 256) // 32 of them fill a segment
			for range 400 {
				seq, refusal := s.TryAppend(e)
				if refusal != Accepted || !s.durable.wait(seq, s.notify) {
					continue
				}
				told.Add(1)
				s.mu.Lock()
				if s.current.lastSeq < seq {
					early.Add(1)
				}
				s.mu.Unlock()
			}
		})
	}
	writers.Wait()
	if n := early.Load(); n > 0 || told.Load() == 0 {
		t.Errorf("%d of %d were told that their event is on the disk before it was committed", n, told.Load())
	}
}

package spool

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
)

// TestSyncIsNotReportedTooEarly: with spool.sync: request, an event that is reported as synced has been committed. Segments are small and fill
// up while others are being committed. The events in a segment that is sealed in the meantime must wait for the next commit.
func TestSyncIsNotReportedTooEarly(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SyncEachResponse = true
	s := openSet(t, o)
	running(t, s)
	var early, reported atomic.Uint64
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
				reported.Add(1)
				s.mu.Lock()
				if s.current.lastSeq < seq {
					early.Add(1)
				}
				s.mu.Unlock()
			}
		})
	}
	writers.Wait()
	if n := early.Load(); n > 0 || reported.Load() == 0 {
		t.Errorf("%d of %d events were reported as synced before they were committed", n, reported.Load())
	}
}

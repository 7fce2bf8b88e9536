package memlimit

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

const mib = 1 << 20

// TestAPeakLeavesNoCollectionsBehind makes the heap large once, and keeps a few objects all over it. Then it counts the collections of the
// nearly idle process.
func TestAPeakLeavesNoCollectionsBehind(t *testing.T) {
	const aim = 32 * mib
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as in the books process
	defer debug.SetMemoryLimit(math.MaxInt64)
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	done := make(chan struct{})
	go func() { defer close(done); Keep(ctx, aim, slog.New(slog.NewTextHandler(&out, nil))) }()

	kept := peak(300 * mib)
	runtime.GC()
	debug.FreeOSMemory()
	if u := read(); u.live+u.overhead < aim {
		t.Fatalf("live %d MiB and overhead %d MiB are no trouble for an aim of %d MiB", u.live/mib, u.overhead/mib, aim/mib)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		u, limit := read(), debug.SetMemoryLimit(-1)
		if limit >= u.live+u.overhead+roomMin*3/4 && limit < u.needs()+16*mib {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("limit %d MiB, live %d MiB, overhead %d MiB", limit/mib, u.live/mib, u.overhead/mib)
		}
	}
	const allocated, each = 64 * mib, 32 << 10
	before := read().cycles
	for range allocated / each {
		waste = make([]byte, each)
		time.Sleep(100 * time.Microsecond)
	}
	// On a busy machine, the collector begins well before the limit, and Keep itself forces a collection from time to time. Without Keep,
	// there are several hundred.
	if cycles, most := read().cycles-before, uint64(4*allocated/roomMin); cycles > most {
		t.Errorf("%d collections while %d MiB were allocated, at most %d are worth their cost", cycles, allocated/mib, most)
	}
	runtime.KeepAlive(kept)
	cancel()
	<-done
	if !strings.Contains(out.String(), "the limit was raised") {
		t.Errorf("the log does not say so: %q", out.String())
	}
}

var waste []byte

// peak allocates this many bytes in small pieces and keeps one in thirty.
func peak(size int) (kept [][]byte) {
	var all [][]byte
	for i := 0; size > 0; i++ {
		piece := make([]byte, 64<<(i%5))
		all, size = append(all, piece), size-len(piece)
	}
	for i := 0; i < len(all); i += 30 {
		kept = append(kept, all[i], all[min(i+1, len(all)-1)])
	}
	return kept
}

func TestKeeper(t *testing.T) {
	k := keeper{aim: 32 * mib, log: slog.New(slog.DiscardHandler)}
	look := func(want int64, collect bool, live, overhead int64, cycles uint64) {
		t.Helper()
		if got := k.check(usage{live * mib, overhead * mib, cycles}); k.limit != want*mib || got != collect {
			t.Errorf("limit %d MiB, collect %v; want %d MiB, %v", k.limit/mib, got, want, collect)
		}
	}
	look(32, false, 10, 10, 1) // enough room below the aim
	look(32, false, 20, 7, 1)
	look(40, false, 20, 16, 2) // memory that cannot be given back takes the room away
	look(40, false, 20, 16, 2)
	look(40, true, 20, 16, 2) // check again whether that is still so
	look(40, false, 20, 16, 3)
	for range 3 {
		look(40, false, 20, 16, 3)
	}
	look(40, true, 20, 16, 3) // it is, so collect less often
	look(40, false, 20, 16, 4)
	for range 7 {
		look(40, false, 20, 16, 4)
	}
	look(40, true, 20, 16, 4)
	look(360, false, 304, 18, 5) // a peak
	look(360, false, 304, 18, 5)
	look(360, true, 304, 18, 5) // the same figures, from that collection
	look(32, false, 10, 10, 6)  // the peak is over
	look(32, false, 10, 10, 6)
	look(32, false, 10, 10, 6)
}

// Package memlimit keeps a process near the amount of memory that it should use, without making the garbage collector run continuously.
//
// The runtime's memory limit (debug.SetMemoryLimit) counts all memory of the runtime, not only the heap. That includes span structures,
// mark bits and half-empty spans from a time when the heap was larger, which are never released. After such a peak, the limit can leave
// no room above the live heap. Then a collection begins every few allocations, which takes up to half of all CPU time, even in an idle
// process, and saves no memory. [Keep] therefore raises the limit just enough to make each collection worth its cost ([roomMin],
// [roomShare]), and lowers it again as soon as possible.
//
// The intended amount (the aim) is not a hard limit: the live heap can exceed it, and the process then uses an eighth more memory than
// the size of that heap.
package memlimit

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// roomMin and roomShare determine how many bytes can be allocated between two collections: roomMin, or the live heap divided by
	// roomShare, whichever is more.
	roomMin   = 4 << 20
	roomShare = 8
	// checkInterval is the time between two checks.
	checkInterval = time.Second
	// While the limit is above the aim, a collection is forced after a number of checks without one. patienceMin and patienceMax are the
	// bounds of this number. The runtime itself collects every two minutes.
	patienceMin = 2
	patienceMax = 120
	// logEvery is the minimum number of checks between two log lines.
	logEvery = 60
)

// Keep keeps the runtime's memory limit at aim (bytes, above 0), or as little above it as the collector needs, until ctx is done. It must
// run in only one goroutine, because the limit is that of the whole process.
func Keep(ctx context.Context, aim int64, log *slog.Logger) {
	k := keeper{aim: aim, limit: aim, log: log, sinceLog: logEvery}
	debug.SetMemoryLimit(aim)
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := k.limit
		collect := k.check(read())
		if k.limit != before {
			debug.SetMemoryLimit(k.limit)
		}
		if collect {
			runtime.GC()
		}
	}
}

// usage describes the runtime's memory.
type usage struct {
	live     int64  // heap in use, according to the last collection
	overhead int64  // memory other than heap objects and free pages: structures, stacks, the unused part of half-empty spans
	cycles   uint64 // number of collections so far
}

func read() usage {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	bytes := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return usage{live: bytes(0), overhead: bytes(1) - bytes(2) - bytes(3) - bytes(4), cycles: samples[5].Value.Uint64()}
}

// needs returns the smallest limit with which the collector works well.
func (u usage) needs() int64 { return u.live + u.overhead + max(roomMin, u.live/roomShare) }

// keeper makes the decisions. It is owned by Keep.
type keeper struct {
	aim, limit int64
	log        *slog.Logger
	cycles     uint64 // number of collections at the last check
	quiet      int    // number of checks since the last collection
	patience   int    // value of quiet at which to force a collection
	asked      int64  // the limit when check last requested a collection
	sinceLog   int    // number of checks since the last log line
	above      bool   // whether the limit is above the aim according to the last log line
}

// check sets k.limit based on u, and reports whether to run a garbage collection now. u.live is the value after the last collection.
// While the limit is above the aim, check requests collections, because a collection may lower the limit. While collections do not lower
// it, check requests them less and less often.
func (k *keeper) check(u usage) (collect bool) {
	k.limit = max(k.aim, u.needs())
	k.report(u)
	if k.limit == k.aim || u.cycles != k.cycles {
		k.cycles, k.quiet = u.cycles, 0
	} else {
		k.quiet++
	}
	switch {
	case k.limit == k.aim:
		k.patience, k.asked = patienceMin, 0
		return false
	case k.asked == 0 || k.limit < k.asked-k.asked/4 || k.limit > k.asked+k.asked/4:
		k.patience = patienceMin // this is the first request, or much has changed since the last one
	}
	if k.quiet < k.patience {
		return false
	}
	k.quiet, k.asked = 0, k.limit
	k.patience = min(2*k.patience, patienceMax)
	return true
}

// report logs when the limit rises above the aim, and when it has returned to the aim.
func (k *keeper) report(u usage) {
	above := k.limit > k.aim
	k.sinceLog++
	if above == k.above || k.sinceLog < logEvery {
		return
	}
	k.above, k.sinceLog = above, 0
	if above {
		k.log.Info("more memory is in use than intended; the limit was raised so that the garbage collector does not run all the time",
			"aim_bytes", k.aim, "limit_bytes", k.limit, "live_bytes", u.live, "overhead_bytes", u.overhead)
		return
	}
	k.log.Info("the memory limit is back at its intended value", "aim_bytes", k.aim)
}

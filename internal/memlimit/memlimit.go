// Package memlimit keeps a process near the memory that it should use, without letting the garbage collector run without pause.
//
// The runtime's memory limit (debug.SetMemoryLimit) counts everything the runtime holds, not only the heap: span structures,
// mark bits and half-empty spans of a heap that was once large are in it and are never given back. After a peak such a limit can
// leave no room above the live heap. Then every few allocations begin a collection, up to half of all processor time, also while
// nothing happens, and no memory is saved by it. [Keep] therefore gives the limit at least the room that a collection needs to be
// worth its cost ([roomMin], [roomShare]), and takes it back as soon as that is possible.
//
// The aim is not a hard bound: a live heap above it is still allowed, and then takes an eighth more than its size.
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
	// roomMin and roomShare say how much may be allocated between two collections: so many bytes, or this part of the live
	// heap if that is more.
	roomMin   = 4 << 20
	roomShare = 8
	// lookEvery is the time between two looks.
	lookEvery = time.Second
	// patienceMin and patienceMax bound how many looks may pass without a collection while the limit is above the aim. The
	// runtime itself collects every two minutes.
	patienceMin = 2
	patienceMax = 120
	// logEvery is the least number of looks between two lines of the log.
	logEvery = 60
)

// Keep holds the runtime's memory limit at aim (bytes, above 0), or as little above it as the collector can work with, until ctx
// is done. It returns then; run it in a goroutine. One per process: the limit is the process's.
func Keep(ctx context.Context, aim int64, log *slog.Logger) {
	k := keeper{aim: aim, limit: aim, log: log, sinceLog: logEvery}
	debug.SetMemoryLimit(aim)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := k.limit
		collect := k.look(read())
		if k.limit != before {
			debug.SetMemoryLimit(k.limit)
		}
		if collect {
			runtime.GC()
		}
	}
}

// usage is what the runtime says of its memory.
type usage struct {
	live     int64  // heap that the last collection found in use
	overhead int64  // held beside heap objects and pages that are free: structures, stacks, what half-empty spans waste
	cycles   uint64 // collections so far
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

// needs is the smallest limit that the collector can work with.
func (u usage) needs() int64 { return u.live + u.overhead + max(roomMin, u.live/roomShare) }

// keeper decides; it is owned by Keep.
type keeper struct {
	aim, limit int64
	log        *slog.Logger
	cycles     uint64 // at the last look
	quiet      int    // looks without a collection
	patience   int    // how many of those may pass
	asked      int64  // the limit when a collection was last asked for
	sinceLog   int    // looks since the last line
	said       bool   // the log says that the limit is above the aim
}

// look sets k.limit from u, and reports whether to collect now. What u calls live is as old as the last collection: while the
// limit is above the aim for its sake, one is asked for, less and less often if that does not lower the limit.
func (k *keeper) look(u usage) (collect bool) {
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
		k.patience = patienceMin // the first time, or much has changed since
	}
	if k.quiet < k.patience {
		return false
	}
	k.quiet, k.asked = 0, k.limit
	k.patience = min(2*k.patience, patienceMax)
	return true
}

// report says when the limit leaves the aim, and when it is back.
func (k *keeper) report(u usage) {
	above := k.limit > k.aim
	k.sinceLog++
	if above == k.said || k.sinceLog < logEvery {
		return
	}
	k.said, k.sinceLog = above, 0
	if above {
		k.log.Info("more memory is in use than aimed for; the limit is raised, so that the garbage collector does not run without pause",
			"aim_bytes", k.aim, "limit_bytes", k.limit, "live_bytes", u.live, "overhead_bytes", u.overhead)
		return
	}
	k.log.Info("the memory limit is back at its aim", "aim_bytes", k.aim)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// crashPoints are the named points in the code that real traffic reaches (see package crash). The points of store.ledger are not
// included, because they come right before collector.retire.before. The points of store.quarantine, store.adopt, store.refill,
// store.forget, store.delete.chunk and uploader.expire are not included either, because they require something that traffic does not
// cause: a batch that cannot be applied, a store that was set aside, a request to forget, more blocks than fit into one transaction, or a
// month. The tests of their packages reach them.
var crashPoints = []string{
	"spool.reserve.before", "spool.reserve.after", "spool.publish.before", "spool.publish.after",
	"spool.seal.before", "spool.seal.after", "spool.commit.before", "spool.commit.after",
	"spool.peek.before", "spool.peek.after", "spool.ack.before", "spool.ack.after",
	"collector.peek.after", "collector.apply.before", "collector.apply.after", "collector.ack.before", "collector.ack.after",
	"collector.retire.before", "collector.retire.after",
	"store.apply.before", "store.sync.before", "store.sync.after", "store.apply.after",
	"store.checkpoint.before", "store.checkpoint.chunk", "store.checkpoint.after",
	"store.plan.before", "store.plan.after", "store.mark.before", "store.mark.after",
	"store.delete.before", "store.delete.after",
	"uploader.plan.before", "uploader.plan.after", "uploader.put.before", "uploader.put.after",
	"uploader.verify.before", "uploader.verify.after", "uploader.mark.before", "uploader.mark.after",
	"uploader.delete.before", "uploader.delete.after",
}

// agePoints are reached while no books process is running and time passes. They come after all other points, so the cycles in the
// evidence keep their numbers.
var agePoints = []string{"spool.age.before", "spool.age.after"}

// crashOccurrences are the values of k for each point: the first few, and two later ones. ageOccurrences has fewer values, because each
// epoch passes its point only once at first, and then every two seconds.
var (
	crashOccurrences = []int{0, 1, 2, 3, 7, 40}
	ageOccurrences   = []int{0, 1, 2, 3, 7}
)

func crashGoal() int {
	return len(crashPoints)*len(crashOccurrences) + len(agePoints)*len(ageOccurrences)
}

// crashAt returns the crash point of a cycle and the occurrence at which the process dies. In the first cycles, every point is used with
// k = 0.
func crashAt(n int) (point string, k int) {
	n %= crashGoal()
	if usual := len(crashPoints) * len(crashOccurrences); n >= usual {
		n -= usual
		return agePoints[n%len(agePoints)], ageOccurrences[n/len(agePoints)]
	}
	return crashPoints[n%len(crashPoints)], crashOccurrences[n/len(crashPoints)]
}

// runCrash makes a process die at a crash point, starts wayside again without crash points, and audits.
func runCrash(ctx context.Context, l *Lab, p *Piece) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		point, k := crashAt(n)
		t, err := l.newTrial(busyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		lives := 1
		ages := slices.Contains(agePoints, point)
		if ages || strings.HasPrefix(point, "collector.retire.") {
			lives += min(k, livesMax) // an epoch is retired only once, and all of its events expire at the same time
		}
		o, err := dieAtPoint(ctx, t, random, fmt.Sprintf("%s:%d", point, k), lives, ages)
		if err != nil {
			err = fmt.Errorf("%s:%d: %w", point, k, err)
		}
		t.end(err != nil)
		return o, err
	})
}

// crashWait is the maximum time to wait until a crash point is reached.
const crashWait = 6 * time.Second

// livesMax is the maximum number of earlier runs of wayside whose spools remain.
const livesMax = 7

func dieAtPoint(ctx context.Context, t *trial, random *rand.Rand, point string, lives int, ages bool) (Outcome, error) {
	// Each earlier run of wayside leaves a spool behind, so there is an epoch to recover and to retire.
	for i := range lives {
		if _, err := t.restart(ctx); err != nil {
			return Outcome{}, err
		}
		if i == 0 {
			t.startTraffic(ctx, 4000)
		}
		pause(t.w.BooksPID()) // to keep anything from being retired yet
		t.awaitTraffic(ctx, 300+uint64(random.IntN(300)), 5*time.Second)
		t.killAll()
	}

	t.w.Binary = t.lab.faults
	t.w.Env = append(append([]string(nil), busyEnv...), "WAYSIDE_FAULT_CRASH="+point)
	await := t.awaitCrash
	if ages {
		await = t.awaitCrashOfAge
	}
	hit := await(ctx)
	sleep(ctx, time.Duration(random.IntN(500))*time.Millisecond) // data of the other process can become durable in the meantime
	t.killAll()
	t.w.Env = busyEnv
	took, err := t.restart(ctx)
	if err != nil {
		return Outcome{}, err
	}
	t.awaitTraffic(ctx, 500, 5*time.Second)
	o, err := t.audit(ctx)
	o.Recovery = took
	o.Note = point
	if !hit {
		o.Note += " (not reached)"
	}
	if strings.HasPrefix(point, "spool.age.after:") && hit && o.Dropped == 0 {
		err = errors.Join(err, errors.New("no expired response is counted any more"))
	}
	return o, err
}

// awaitCrashOfAge is like awaitCrash, but no books process runs, and a fast clock makes the waiting events too old.
func (t *trial) awaitCrashOfAge(ctx context.Context) bool {
	t.lossy, t.only = true, "age"
	offset := filepath.Join(t.dir, "offset")
	t.w.Env = append(t.w.Env, "WAYSIDE_COLLECTOR_ENABLED=false", "WAYSIDE_SPOOL_AGE_MAX=1m", "WAYSIDE_FAULT_CLOCK="+offset)
	ctx, cancel := context.WithCancel(ctx)
	var clock sync.WaitGroup
	clock.Go(func() {
		for ahead := time.Minute; ctx.Err() == nil; ahead += time.Minute {
			if err := os.WriteFile(offset+".new", []byte(ahead.String()), 0o600); err == nil {
				_ = os.Rename(offset+".new", offset)
			}
			sleep(ctx, 200*time.Millisecond)
		}
	})
	defer clock.Wait()
	defer cancel()
	return t.awaitCrash(ctx)
}

// awaitCrash starts wayside with a crash point and waits until one of its processes has died there. It returns false if this
// takes longer than crashWait.
func (t *trial) awaitCrash(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, crashWait)
	defer cancel()
	started := t.w.Start(ctx)
	if started != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return true // it died while it was starting
	}
	books := 0
	for ctx.Err() == nil {
		if !t.w.Running() {
			return true
		}
		pid := t.w.BooksPID()
		if books != 0 && pid != books {
			return true // the next books process dies as well
		}
		books = pid
		sleep(ctx, 2*time.Millisecond)
	}
	return false
}

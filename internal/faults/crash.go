package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// crashPoints are the names in the code that real traffic reaches, see package crash. Those of store.quarantine, store.adopt,
// store.forget, store.delete.chunk, spool.age and uploader.expire need what traffic does not make: a batch that cannot be applied,
// a store that was set aside, an order to forget, more blocks than one transaction takes, a books process that stays away, a
// month. Their packages' own tests pass them.
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

// crashOccurrences are the k of each point: the first few, and some from the middle of things.
var crashOccurrences = []int{0, 1, 2, 3, 7, 40}

func crashGoal() int { return len(crashPoints) * len(crashOccurrences) }

// runCrash lets the process die at a crash point, starts it again without one, and audits. The cycle's number says which
// point and which occurrence: all points at k = 0 first.
func runCrash(ctx context.Context, l *Lab, p *Piece) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		point := crashPoints[n%len(crashPoints)]
		k := crashOccurrences[n/len(crashPoints)%len(crashOccurrences)]
		t, err := l.newTrial(busyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		lives := 1
		if strings.HasPrefix(point, "collector.retire.") {
			lives += min(k, livesMax) // an epoch is retired once
		}
		o, err := t.crash(ctx, random, fmt.Sprintf("%s:%d", point, k), lives)
		if err != nil {
			err = fmt.Errorf("%s:%d: %w", point, k, err)
		}
		t.end(err != nil)
		return o, err
	})
}

// crashWait is how long a crash point may take to be reached.
const crashWait = 6 * time.Second

// livesMax bounds how many spools the lives before leave behind.
const livesMax = 7

func (t *trial) crash(ctx context.Context, random *rand.Rand, point string, lives int) (Outcome, error) {
	// The lives before leave a spool each behind, so that there is an epoch to recover and to retire.
	for i := range lives {
		if _, err := t.restart(ctx); err != nil {
			return Outcome{}, err
		}
		if i == 0 {
			t.startTraffic(ctx, 4000)
		}
		pause(t.w.BooksPID())                                            // nothing is retired before its time
		t.awaitTraffic(ctx, 300+uint64(random.IntN(300)), 5*time.Second) //nolint:gosec // small
		t.killAll()
	}

	t.w.Binary = t.lab.faults
	t.w.Env = append(append([]string(nil), busyEnv...), "WAYSIDE_FAULT_CRASH="+point)
	hit := t.awaitCrash(ctx)
	sleep(ctx, time.Duration(random.IntN(500))*time.Millisecond) // what the other process was told becomes durable, or does not
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
	return o, err
}

// awaitCrash starts wayside with a crash point and waits until one of its processes has died of it.
func (t *trial) awaitCrash(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, crashWait)
	defer cancel()
	started := t.w.Start(ctx)
	if started != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return true // it died while it started
	}
	books := 0
	for ctx.Err() == nil {
		if !t.w.Running() {
			return true
		}
		pid := t.w.BooksPID()
		if books != 0 && pid != books {
			return true // and dies again, as often as it is started
		}
		books = pid
		sleep(ctx, 2*time.Millisecond)
	}
	return false
}

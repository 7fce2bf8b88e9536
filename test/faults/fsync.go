package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// syncsPerTrial is the number of fsyncs that fail in one trial.
const syncsPerTrial = 5

// runSync makes fsyncs of the queue fail under traffic, with spool.sync: request. After each failure, wayside retires the queue file, and
// writes again the events that this file may lack on the disk. In half of the trials, both processes are killed after the last failure.
func runSync(ctx context.Context, l *Lab, p *Piece) error {
	return p.groups(ctx, l, syncsPerTrial, func(random *rand.Rand, first, n int) (Outcome, error) {
		t, err := l.newTrial()
		if err != nil {
			return Outcome{}, err
		}
		trigger := filepath.Join(t.dir, "fail-sync")
		t.w.Binary = l.faults
		t.w.Env = append([]string{"WAYSIDE_SPOOL_SYNC=request", "WAYSIDE_FAULT_SYNC=" + trigger}, busyEnv...)
		o, err := failSyncs(ctx, t, random, trigger, n, first/syncsPerTrial%2 == 1)
		t.end(err != nil)
		return o, err
	})
}

func failSyncs(ctx context.Context, t *trial, random *rand.Rand, trigger string, n int, killed bool) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 4000)
	var recovery time.Duration
	for range n {
		t.awaitTraffic(ctx, 100+uint64(random.IntN(1000)), 5*time.Second)
		if err := os.WriteFile(trigger, nil, 0o600); err != nil {
			return Outcome{}, err
		}
		began := time.Now()
		for _, err := os.Stat(trigger); err == nil; _, err = os.Stat(trigger) {
			if time.Since(began) > 10*time.Second {
				return Outcome{}, errors.New("the fault did not affect the queue file")
			}
			sleep(ctx, time.Millisecond)
		}
		t.awaitTraffic(ctx, 2*connections, 10*time.Second) // each response waits for a successful fsync
		recovery = max(recovery, time.Since(began))
	}
	failedBefore, failErr := t.counted()
	if killed {
		t.killAll()
		if _, err := t.restart(ctx); err != nil {
			return Outcome{}, err
		}
		t.awaitTraffic(ctx, 200, 5*time.Second)
	}
	retired := strings.Count(t.log.String(), "queue file failed; continuing in a new one")
	o, err := t.audit(ctx)
	o.Recovery, o.Failed = recovery, failedBefore
	o.Note = fmt.Sprintf("%d queue files retired", retired)
	if retired < n {
		err = errors.Join(err, fmt.Errorf("%d of %d failed fsyncs were noticed", retired, n))
	}
	return o, errors.Join(err, failErr)
}

// counted returns the number of failed requests so far. There must be none.
func (t *trial) counted() (uint64, error) {
	if n := t.traffic.counters.Failed.Load(); n > 0 {
		return n, fmt.Errorf("%d requests failed", n)
	}
	return 0, nil
}

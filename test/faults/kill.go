package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// killsPerTrial is the number of kills that share a data directory, its traffic and one audit.
const killsPerTrial = 5

// runKill kills one of the processes at random with SIGKILL under full traffic. In half of the trials, only the books process is killed,
// and no request may fail.
func runKill(ctx context.Context, l *Lab, p *Piece) error {
	return p.groups(ctx, l, killsPerTrial, func(random *rand.Rand, first, n int) (Outcome, error) {
		booksOnly := first/killsPerTrial%2 == 1
		t, err := l.newTrial(busyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := killRepeatedly(ctx, t, random, n, booksOnly)
		t.end(err != nil)
		return o, err
	})
}

func killRepeatedly(ctx context.Context, t *trial, random *rand.Rand, n int, booksOnly bool) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 0)
	runs := uint64(0)
	var recovery time.Duration
	for range n {
		sleep(ctx, time.Duration(random.IntN(400))*time.Millisecond)
		if booksOnly || random.IntN(2) == 0 {
			took, err := t.killBooksOnce(ctx)
			if err != nil {
				return Outcome{}, err
			}
			recovery = max(recovery, took)
			continue
		}
		t.w.Kill() // the books process then ends by itself, and the next one waits for the lock
		took, err := t.restart(ctx)
		if err != nil {
			return Outcome{}, err
		}
		recovery = max(recovery, took)
		runs++
	}
	o, err := t.audit(ctx)
	if err == nil {
		err = t.minutes(ctx, t.books)
	}
	o.Recovery = recovery
	// A kill breaks each request in progress, and possibly as many on connections that were opened while the process died.
	failed, failErr := t.failedBeyond(2 * runs * t.inProgress())
	o.Failed = failed
	o.Note = fmt.Sprintf("%d kills of the traffic process", runs)
	return o, errors.Join(err, failErr)
}

// killBooksOnce kills the books process and waits for the next one.
func (t *trial) killBooksOnce(ctx context.Context) (time.Duration, error) {
	deadline := time.Now().Add(30 * time.Second)
	killed := t.w.BooksPID()
	for killed == 0 { // between two books processes, there is none for a moment
		if time.Now().After(deadline) || ctx.Err() != nil {
			return 0, errors.New("there is no books process to kill")
		}
		time.Sleep(time.Millisecond)
		killed = t.w.BooksPID()
	}
	began := time.Now()
	kill(killed)
	for pid := killed; pid == 0 || pid == killed; pid = t.w.BooksPID() {
		if time.Now().After(deadline) {
			return 0, errors.New("the books process was not started again")
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began), nil
}

// runTermKill sends SIGTERM under traffic and SIGKILL a moment later, so the kill comes in the middle of a shutdown.
func runTermKill(ctx context.Context, l *Lab, p *Piece) error {
	return p.trials(ctx, l, busyEnv, func(t *trial, random *rand.Rand, _ int) (Outcome, error) {
		return killDuringShutdown(ctx, t, random)
	})
}

func killDuringShutdown(ctx context.Context, t *trial, random *rand.Rand) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 0)
	t.awaitTraffic(ctx, 2000, 5*time.Second)
	term(t.w.PID())
	sleep(ctx, time.Duration(random.IntN(300))*time.Millisecond)
	t.killAll()
	took, err := t.restart(ctx)
	if err != nil {
		return Outcome{}, err
	}
	t.awaitTraffic(ctx, 500, 5*time.Second)
	o, err := t.audit(ctx)
	o.Recovery = took
	return o, err
}

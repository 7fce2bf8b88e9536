package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// fullsPerTrial is the number of times that the queue of one data directory becomes full.
const fullsPerTrial = 5

// runFull stops the books process under traffic until the queue has reached spool.bytes_max, and then continues the process. It does so
// several times. The queue has the minimum allowed size or a little more, and the segments of the journal have their usual size. Every
// request must be served, every response must be recorded or counted as dropped, and recording must resume by itself.
func runFull(ctx context.Context, l *Lab, p *Piece) error {
	return p.groups(ctx, l, fullsPerTrial, func(random *rand.Rand, first, n int) (Outcome, error) {
		size := 1 << 20
		if first/fullsPerTrial%2 == 1 {
			size += random.IntN(1 << 19)
		}
		t, err := l.newTrial(append([]string{fmt.Sprintf("WAYSIDE_SPOOL_BYTES_MAX=%d", size)}, quietEnv...)...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := fillQueue(ctx, t, random, n)
		o.Note += fmt.Sprintf(" queue of %d bytes", size)
		t.end(err != nil)
		return o, err
	})
}

func fillQueue(ctx context.Context, t *trial, random *rand.Rand, n int) (o Outcome, err error) {
	if _, err := t.restart(ctx); err != nil {
		return o, err
	}
	var recovery time.Duration
	for range n {
		t.startTraffic(ctx, 6000)
		t.awaitTraffic(ctx, 500+uint64(random.IntN(3000)), 5*time.Second)
		books := t.w.BooksPID()
		pause(books)
		err := t.awaitDrops(ctx)
		sleep(ctx, time.Duration(random.IntN(500))*time.Millisecond)
		if err == nil && (!alive(books) || t.w.BooksPID() != books) {
			err = errors.New("the books process ended while it was stopped")
		}
		resume(books)
		if err != nil {
			return o, err
		}
		if err := t.recordsAgain(ctx, time.Now(), &recovery); err != nil {
			return o, err
		}
	}
	return t.auditDrops(ctx, recovery)
}

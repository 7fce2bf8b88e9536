package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// runAge stops the books process for longer than spool.age_max, so that the spool gives up what waits: what is missing must be what
// was counted, to the unit. In every other cycle both processes are killed while it gives up.
func runAge(ctx context.Context, l *Lab, p *Piece) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		t, err := l.newTrial(append([]string{"WAYSIDE_SPOOL_AGE_MAX=1m"}, quietEnv...)...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := t.age(ctx, random, n%2 == 1)
		t.end(err != nil)
		return o, err
	})
}

func (t *trial) age(ctx context.Context, random *rand.Rand, killed bool) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 2000)
	t.awaitTraffic(ctx, 1000+uint64(random.IntN(2000)), 5*time.Second) //nolint:gosec // small
	books := t.w.BooksPID()
	pause(books)
	defer resume(books)
	sleep(ctx, 50*time.Second) // a minute is the least that spool.age_max may be
	if err := t.awaitDrops(ctx); err != nil {
		return Outcome{}, err
	}
	sleep(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
	if !killed {
		resume(books)
		freed := time.Now()
		if err := t.awaitRecording(ctx); err != nil {
			return Outcome{}, err
		}
		recovery := time.Since(freed)
		// What the books process held while it was stopped was given up after a minute, and is applied now: the two accounts
		// are compared every five seconds, and until then they differ.
		sleep(ctx, 6*time.Second)
		return t.auditDrops(ctx, recovery)
	}
	t.killAll()
	took, err := t.restart(ctx)
	if err != nil {
		return Outcome{}, err
	}
	t.awaitTraffic(ctx, 500, 5*time.Second)
	t.lossy, t.only = true, "age"
	o, err := t.audit(ctx)
	o.Recovery = took
	if o.Dropped == 0 {
		err = errors.Join(err, errors.New("nothing of what was given up is counted any more"))
	}
	return o, err
}

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// runAge stops the books process for longer than spool.age_max, so the waiting events expire in the spool. The number of missing
// responses must be exactly the number that was counted as dropped. In half of the cycles, both processes are also killed while the books
// process is stopped.
func runAge(ctx context.Context, l *Lab, p *Piece) error {
	return p.trials(ctx, l, append([]string{"WAYSIDE_SPOOL_AGE_MAX=1m"}, quietEnv...), func(t *trial, random *rand.Rand, n int) (Outcome, error) {
		return stopBeyondAge(ctx, t, random, n%2 == 1)
	})
}

func stopBeyondAge(ctx context.Context, t *trial, random *rand.Rand, killed bool) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 2000)
	t.awaitTraffic(ctx, 1000+uint64(random.IntN(2000)), 5*time.Second)
	books := t.w.BooksPID()
	pause(books)
	defer resume(books)
	sleep(ctx, 50*time.Second) // the smallest allowed spool.age_max is a minute
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
		// Events that the books process had already received when it was stopped expired in the spool after a minute, but are applied
		// now. Spool and store disagree about these until they are compared, which happens every five seconds.
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
		err = errors.Join(err, errors.New("no expired response is counted any more"))
	}
	return o, err
}

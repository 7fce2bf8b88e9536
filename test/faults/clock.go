package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// clockJumps are applied one after another. At the end, the clock is back where it started.
var clockJumps = []time.Duration{
	time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour, 365 * 24 * time.Hour, -365 * 24 * time.Hour, -time.Hour, time.Hour,
}

// clockChanges are the times at which daylight saving time begins or ends in the time zone of these trials.
var clockChanges = []time.Time{
	time.Date(2027, time.March, 28, 1, 0, 0, 0, time.UTC), time.Date(2027, time.October, 31, 1, 0, 0, 0, time.UTC),
}

// runClock makes the clock of both processes jump under traffic, while archiving, retention and the expiry of the archive are running.
// Half of the trials begin a few seconds before a daylight saving change and continue past it.
func runClock(ctx context.Context, l *Lab, p *Piece) error {
	return p.trials(ctx, l, nil, func(t *trial, random *rand.Rand, n int) (Outcome, error) {
		t.w.Binary = l.faults
		offset := filepath.Join(t.dir, "offset")
		t.w.Env = append(append([]string{"TZ=Europe/Berlin"}, busyEnv...), "WAYSIDE_FAULT_CLOCK="+offset, "WAYSIDE_ARCHIVE_EXPIRE=720h")
		return moveClock(ctx, t, random, offset, n)
	})
}

func moveClock(ctx context.Context, t *trial, random *rand.Rand, offset string, n int) (Outcome, error) {
	at := time.Duration(0)
	if n%2 == 1 {
		at = time.Until(clockChanges[n/2%len(clockChanges)]) - 2*time.Second
		if err := os.WriteFile(offset, []byte(at.String()), 0o600); err != nil {
			return Outcome{}, err
		}
	}
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 4000)
	if n%2 == 1 {
		sleep(ctx, 3*time.Second)
	}
	for i := range clockJumps {
		at += clockJumps[(i+2*(n%4))%len(clockJumps)]
		if err := os.WriteFile(offset, []byte(at.String()), 0o600); err != nil {
			return Outcome{}, err
		}
		sleep(ctx, 400*time.Millisecond+time.Duration(random.IntN(600))*time.Millisecond)
	}
	o, err := t.audit(ctx)
	failed, failErr := t.failedBeyond(0)
	o.Failed = failed
	return o, errors.Join(err, failErr)
}

// runStop stops the books process with SIGSTOP for 10 to 20 seconds, during which the process neither works nor ends, and then lets it
// catch up.
func runStop(ctx context.Context, l *Lab, p *Piece) error {
	return stopFault(ctx, l, p, 10*time.Second, 8000)
}

// runStopMinutes stops the books process for two to three minutes.
func runStopMinutes(ctx context.Context, l *Lab, p *Piece) error {
	return stopFault(ctx, l, p, 2*time.Minute, 3000)
}

// stopFault stops the books process for a random time between least and twice least, but at most a minute longer than least. rate is in
// requests per second.
func stopFault(ctx context.Context, l *Lab, p *Piece, least time.Duration, rate float64) error {
	return p.trials(ctx, l, busyEnv, func(t *trial, random *rand.Rand, _ int) (Outcome, error) {
		return stopBooksFor(ctx, t, least+time.Duration(random.Int64N(int64(min(least, time.Minute)))), rate)
	})
}

func stopBooksFor(ctx context.Context, t *trial, stopped time.Duration, rate float64) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, rate)
	t.awaitTraffic(ctx, 2000, 5*time.Second)
	books := t.w.BooksPID()
	pause(books)
	sleep(ctx, stopped)
	if !alive(books) || t.w.BooksPID() != books {
		return Outcome{}, errors.New("the books process ended while it was stopped")
	}
	resume(books)
	began := time.Now()
	t.awaitTraffic(ctx, 2000, 5*time.Second)
	o, err := t.audit(ctx)
	o.Recovery = time.Since(began)
	o.Note = fmt.Sprintf("stopped for %v", stopped.Round(time.Second))
	failed, failErr := t.failedBeyond(0)
	o.Failed = failed
	return o, errors.Join(err, failErr)
}

// runTwo starts a second `wayside run` with a data directory that is in use. The second process must exit with 75 and change nothing.
func runTwo(ctx context.Context, l *Lab, p *Piece) error {
	return p.trials(ctx, l, busyEnv, func(t *trial, random *rand.Rand, _ int) (Outcome, error) {
		return startSecondRun(ctx, t, random)
	})
}

func startSecondRun(ctx context.Context, t *trial, random *rand.Rand) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 4000)
	sleep(ctx, time.Duration(random.IntN(500))*time.Millisecond)
	for range 3 {
		out, err := exec.CommandContext(ctx, t.w.Binary, "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
			"--upstream", "http://127.0.0.1:9", "--data", t.dataDir).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 75 || !strings.Contains(string(out), fmt.Sprintf("pid %d", t.w.PID())) {
			return Outcome{}, fmt.Errorf("the second run: %w: %s", err, out)
		}
	}
	t.awaitTraffic(ctx, 1000, 5*time.Second)
	o, err := t.audit(ctx)
	failed, failErr := t.failedBeyond(0)
	o.Failed = failed
	return o, errors.Join(err, failErr)
}

// runFileSize limits the size of files that both processes can write (RLIMIT_FSIZE) and later removes the limit. While it applies, writes
// fail with EFBIG, just as they fail with ENOSPC on a full disk.
func runFileSize(ctx context.Context, l *Lab, p *Piece) error {
	return p.trials(ctx, l, append(smallSpoolEnv, quietEnv...), func(t *trial, random *rand.Rand, _ int) (Outcome, error) {
		return limitFileSize(ctx, t, random)
	})
}

func limitFileSize(ctx context.Context, t *trial, random *rand.Rand) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	t.startTraffic(ctx, 5000)
	t.awaitTraffic(ctx, 1000+uint64(random.IntN(2000)), 5*time.Second)
	limit := func(soft uint64) error {
		for _, pid := range []int{t.w.PID(), t.w.BooksPID()} {
			if err := setFileSize(pid, soft); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("%w: prlimit: %w", ErrSkipped, err)
			}
		}
		return nil
	}
	if err := limit(300 << 10); err != nil {
		return Outcome{}, err
	}
	sleep(ctx, time.Duration(random.IntN(1000))*time.Millisecond)
	books := t.w.BooksPID()
	pause(books) // otherwise, the books process would make room in the queue, and nothing would be dropped
	defer resume(books)
	dropping := t.awaitDrops(ctx)
	resume(books)
	sleep(ctx, time.Duration(random.IntN(1000))*time.Millisecond)
	if err := limit(^uint64(0)); err != nil {
		return Outcome{}, err
	}
	began := time.Now()
	if err := t.awaitRecording(ctx); err != nil {
		return Outcome{}, err
	}
	o, err := t.auditDrops(ctx, time.Since(began))
	return o, errors.Join(dropping, err)
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
)

// withStack runs fn with nginx, the binary and an S3 server.
func withStack(ctx context.Context, env []string, fn func(*e2e.Stack) (string, error)) (string, error) {
	dir, err := os.MkdirTemp("", "wayside-archive-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log, err := os.Create(filepath.Join(dir, "wayside.log"))
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }()
	stack, err := e2e.StartStack(ctx, e2e.StackOptions{Dir: dir, Env: env, Log: io.Writer(log)})
	if err != nil {
		return "", err
	}
	defer stack.Close()
	return fn(stack)
}

// traffic sends n requests, with nonces starting at first.
func traffic(ctx context.Context, s *e2e.Stack, first, n uint64, rate float64, received *load.Bitmap) (*load.Report, error) {
	r, err := load.Run(ctx, load.Options{
		Address: s.Wayside.Listen, Connections: 32, Requests: n, FirstNonce: first, Rate: rate, Received: received,
		Verify: load.ExpectBody(200, []byte(e2e.OriginBody)),
	})
	if err == nil && r.FailedTotal() > 0 {
		err = fmt.Errorf("%d requests failed: %v", r.FailedTotal(), r.Errors)
	}
	return r, err
}

// compareBooks reads the bucket and checks that every received nonce occurs exactly once.
func compareBooks(ctx context.Context, s *e2e.Stack, received *load.Bitmap, n uint64) (string, error) {
	books, err := e2e.ReadBooks(ctx, s.Target)
	if err != nil {
		return "", err
	}
	lost, examples := received.Missing(&books.Nonces, 5)
	text := fmt.Sprintf("%d lines in %d objects, %d lost, %d doubled, %d drop records", books.Lines, books.Objects, lost, books.Doubled, books.Drops)
	if lost+books.Doubled+books.Drops > 0 || books.Lines != n {
		return text, fmt.Errorf("%d lines, but %d responses; lost are, for example, %v", books.Lines, n, examples)
	}
	return text, nil
}

// proveShutdown sends requests, none of which becomes old enough to be archived, and then sends SIGTERM. Within the default timeout, all
// of them must be in the bucket.
func proveShutdown(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	n := flags.Uint64("requests", 200_000, "requests to record")
	_ = flags.Parse(args)
	return withStack(ctx, nil, func(s *e2e.Stack) (string, error) {
		var received load.Bitmap
		if _, err := traffic(ctx, s, 0, *n, 0, &received); err != nil {
			return "", err
		}
		a, err := s.Wayside.Accounting(ctx)
		if err != nil {
			return "", err
		}
		began := time.Now()
		stopped := s.Wayside.Stop(30 * time.Second)
		took := time.Since(began)
		text, err := compareBooks(ctx, s, &received, *n)
		text = fmt.Sprintf("%d responses, %d archived before SIGTERM, exit 0 after %v (shutdown.timeout 25s): %s",
			*n, a.Archived, took.Round(10*time.Millisecond), text)
		if a.Archived > 0 {
			err = errors.Join(err, errors.New("events were archived before SIGTERM"))
		}
		return text, errors.Join(err, stopped)
	})
}

// latencySlack is the accepted difference between percentiles, because the machine also does other work. If traffic waited for the
// archive, the difference would be as long as a timeout.
const latencySlack = 5 * time.Millisecond

// unchanged compares the latency during the outage with the larger of the latencies before and after. The median may be 1.5 times as
// high, and p99 twice as high, each plus the slack.
func unchanged(before, away, after *load.Report) error {
	for q, factor := range map[float64]float64{0.5: 1.5, 0.99: 2} {
		with := max(before.Latency.Quantile(q), after.Latency.Quantile(q))
		if got := away.Latency.Quantile(q); got > time.Duration(float64(with)*factor)+latencySlack {
			return fmt.Errorf("p%.0f was %v without the server, and %v with it", 100*q, got, with)
		}
	}
	return nil
}

// catchUpMax is the maximum time for catching up. Only a failure takes that long.
const catchUpMax = 2 * time.Minute

// proveOutage sends traffic while the S3 server is running, while it is stopped, and while it is running again. The archive must catch up
// by itself, and the outage must not affect the clients.
func proveOutage(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	n := flags.Uint64("requests", 360_000, "requests while the server is stopped: an hour at 100 a second")
	rate := flags.Float64("rate", 8000, "requests a second")
	_ = flags.Parse(args)
	env := []string{"WAYSIDE_ARCHIVE_AFTER=0s", "WAYSIDE_ARCHIVE_SCHEDULE=@every 1s"}
	return withStack(ctx, env, func(s *e2e.Stack) (string, error) {
		var received load.Bitmap
		quarter := *n / 4
		before, err := traffic(ctx, s, 0, quarter, *rate, &received)
		if err != nil {
			return "", err
		}
		s.S3.Stop()
		away, err := traffic(ctx, s, quarter, *n, *rate, &received)
		if err != nil {
			return "", err
		}
		a, err := s.Wayside.Accounting(ctx)
		if err != nil {
			return "", err
		}
		waiting := a.Applied + a.Spooled - a.Archived
		if err := s.S3.Restart(); err != nil {
			return "", err
		}
		began := time.Now()
		after, err := traffic(ctx, s, quarter+*n, quarter, *rate, &received)
		if err != nil {
			return "", err
		}
		total := *n + 2*quarter
		ctx, cancel := context.WithTimeout(ctx, catchUpMax)
		defer cancel()
		for a.Archived < total {
			select {
			case <-ctx.Done():
				return "", fmt.Errorf("not caught up: archived %d of %d: %w", a.Archived, total, ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
			if a, err = s.Wayside.Accounting(ctx); err != nil {
				return "", err
			}
		}
		caught := time.Since(began)
		text, err := compareBooks(ctx, s, &received, total)
		err = errors.Join(err, unchanged(before, away, after))
		latency := func(r *load.Report) string {
			return fmt.Sprintf("%v/%v", r.Latency.Quantile(0.5).Round(time.Microsecond), r.Latency.Quantile(0.99).Round(10*time.Microsecond))
		}
		return fmt.Sprintf("%d responses at %.0f/s with S3, %d without it, %d with it again; p50/p99 of the client %s, %s, %s; "+
			"%d events waited and were archived within %v: %s", quarter, *rate, *n, quarter, latency(before), latency(away), latency(after),
			waiting, caught.Round(100*time.Millisecond), text), err
	})
}

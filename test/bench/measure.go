package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// sample is one load of one contestant.
type sample struct {
	Contestant  string  `json:"contestant"`
	Connections int     `json:"connections"`
	Round       int     `json:"round"`
	Requests    uint64  `json:"requests"`        // as counted by the origin
	CPUMicros   float64 `json:"cpu_us"`          // per request, including the work after the load (drain, archive)
	LoadMicros  float64 `json:"cpu_during_load"` // per request, until the load ended
	PerSecond   float64 `json:"requests_per_second"`
	P50Micros   float64 `json:"p50_us"`
	P99Micros   float64 `json:"p99_us"`
	PSSBytes    uint64  `json:"pss_bytes"` // the larger of two readings: at the end of the load, and after the work that follows
	Processes   int     `json:"processes"`
	Errors      uint64  `json:"errors"`
	Settled     bool    `json:"settled"` // the work after the load was done when the CPU time was read
}

// measureAll loads the contestants in rounds. Each round begins with another one.
func (f *setup) measureAll(ctx context.Context) ([]sample, error) {
	var samples []sample
	for _, connections := range f.connections {
		for _, c := range f.contestants {
			if f.warmup < time.Second {
				break
			}
			if _, err := runWrk(ctx, f.dir, c.address, connections, f.warmup); err != nil {
				return nil, err
			}
			if _, err := c.awaitArchived(ctx); err != nil {
				return nil, err
			}
		}
		for round := range f.rounds {
			for i := range f.contestants {
				c := f.contestants[(i+round)%len(f.contestants)]
				s, err := f.measure(ctx, c, connections)
				if err != nil {
					return nil, c.process.explain(fmt.Errorf("%s with %d connections: %w", c.name, connections, err))
				}
				s.Round = round + 1
				fmt.Fprintf(os.Stderr, "%3d connections, round %d/%d: %-20s %6.2f µs CPU/request, %7.0f requests/s\n",
					connections, s.Round, f.rounds, c.name, s.CPUMicros, s.PerSecond)
				samples = append(samples, s)
			}
		}
	}
	return samples, nil
}

// measure loads one contestant once. It reads CPU time and requests before and after.
func (f *setup) measure(ctx context.Context, c *contestant, connections int) (s sample, err error) {
	pid := c.process.cmd.Process.Pid
	before, err := usageOf(pid, false)
	if err != nil {
		return s, err
	}
	answered, err := f.originRequests(ctx)
	if err != nil {
		return s, err
	}
	wrk, err := runWrk(ctx, f.dir, c.address, connections, f.duration)
	if err != nil {
		return s, err
	}
	loaded, err := usageOf(pid, true)
	if err != nil {
		return s, err
	}
	answeredAfter, err := f.originRequests(ctx)
	if err != nil {
		return s, err
	}
	settled, err := c.awaitArchived(ctx)
	if err != nil {
		return s, err
	}
	after, err := usageOf(pid, true)
	if err != nil {
		return s, err
	}
	requests := answeredAfter - answered - 1 // without the request for this figure
	if requests < wrk.Requests {
		return s, fmt.Errorf("the origin answered %d requests, but wrk received %d", requests, wrk.Requests)
	}
	perRequest := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(requests) }
	return sample{
		Contestant: c.name, Connections: connections, Requests: requests, Settled: settled,
		CPUMicros: perRequest(after.cpu - before.cpu), LoadMicros: perRequest(loaded.cpu - before.cpu),
		PerSecond: wrk.PerSecond, Errors: wrk.Errors,
		P50Micros: float64(wrk.P50.Nanoseconds()) / 1000, P99Micros: float64(wrk.P99.Nanoseconds()) / 1000,
		PSSBytes: max(loaded.pss, after.pss), Processes: loaded.processes,
	}, nil
}

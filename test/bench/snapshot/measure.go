package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/bench/rig"
	"github.com/wayside-proxy/wayside/test/procfs"
)

// turn is the result of one turn of one contestant.
type turn struct {
	rate      float64 // requests per second
	processor float64 // microseconds per request
}

func (t turn) perSecond() float64  { return t.rate }
func (t turn) perRequest() float64 { return t.processor }

// figures contains the turns of each contestant by round.
type figures [contestants][]turn

// ratio returns the ratio of wayside to another contestant, as the median over the rounds. Each ratio is computed within a round, because
// other work on the machine affects all turns of a round.
func (f figures) ratio(other int, figure func(turn) float64) float64 {
	var ratios []float64
	for i := range f[other] {
		ratios = append(ratios, figure(f[ofWayside][i])/figure(f[other][i]))
	}
	return rig.Median(ratios)
}

// table formats the figures of a state.
func (f figures) table(state string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", state)
	for of, name := range contestantNames {
		fmt.Fprintf(&b, "  %-26s %7.0f/s %6.2f µs", name, rig.MedianOf(f[of], turn.perSecond), rig.MedianOf(f[of], turn.perRequest))
		if of != ofWayside {
			fmt.Fprintf(&b, "   ratios %.2f, %.2f", f.ratio(of, turn.perSecond), f.ratio(of, turn.perRequest))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// turns puts load on the contestants in turn. Every round begins with a different contestant. If before and after are not nil, before is
// called to prepare each turn, and after is called to check it.
func (s *setup) turns(ctx context.Context, rounds int, each time.Duration, before, after func() error) (f figures, err error) {
	for round := range rounds {
		for i := range contestants {
			of := (round + i) % contestants
			if before != nil {
				if err := before(); err != nil {
					return f, err
				}
			}
			t, err := s.measure(ctx, of, each)
			if err != nil {
				return f, err
			}
			if after != nil {
				if err := after(); err != nil {
					return f, err
				}
			}
			f[of] = append(f[of], t)
		}
	}
	return f, nil
}

// measure takes one turn of one contestant.
func (s *setup) measure(ctx context.Context, of int, d time.Duration) (t turn, err error) {
	pids, err := s.pids(of)
	if err != nil {
		return t, err
	}
	before, err := runtime(pids)
	if err != nil {
		return t, err
	}
	report, err := wrk(ctx, s.url(of), d)
	if err != nil {
		return t, err
	}
	after, err := runtime(pids)
	return turn{report.PerSecond, float64((after - before).Nanoseconds()) / 1000 / float64(report.Requests)}, err
}

// pids lists the processes that serve the requests of a contestant.
func (s *setup) pids(of int) ([]int, error) {
	if of == ofWayside {
		return []int{s.wayside.PID()}, nil
	}
	return s.nginx[of-ofNginx].PIDs()
}

func runtime(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		t, err := procfs.Runtime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// wrk puts load on a URL over 32 connections. No request may fail.
func wrk(ctx context.Context, url string, d time.Duration) (rig.WrkReport, error) {
	report, err := rig.Wrk(ctx, url, 1, 32, d, "")
	if err == nil && report.Errors > 0 {
		err = fmt.Errorf("%d requests to %s failed", report.Errors, url)
	}
	return report, err
}

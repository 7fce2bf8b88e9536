package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// sample is one load of one contestant.
type sample struct {
	Load          string  `json:"load"` // in the form of -loads
	Contestant    string  `json:"contestant"`
	Round         int     `json:"round"`
	Requests      uint64  `json:"requests"`                 // number of requests, counted by the origin
	CPUMicros     float64 `json:"cpu_us"`                   // per request, including the work after the load (drain, archive)
	LoadMicros    float64 `json:"cpu_during_load"`          // per request, until the load ended
	TrafficMicros float64 `json:"cpu_traffic_us,omitempty"` // the part of CPUMicros that wayside's traffic process used
	BooksMicros   float64 `json:"cpu_books_us,omitempty"`   // the part that its books process used
	PerSecond     float64 `json:"requests_per_second"`
	P50Micros     float64 `json:"p50_us"`
	P99Micros     float64 `json:"p99_us"`
	PSSBytes      uint64  `json:"pss_bytes"` // maximum of readings every second, at the end of the load, and after the work that follows
	Processes     int     `json:"processes"`
	Errors        uint64  `json:"errors"`
	Settled       bool    `json:"settled"` // whether the work after the load was done when the CPU time was read
}

// measureAll puts the loads on the contestants in rounds. In each round, each load is put on all contestants in turn. Each round begins
// with a different contestant.
func (f *setup) measureAll(ctx context.Context) ([]sample, error) {
	for _, w := range f.loads {
		for _, c := range f.contestants {
			if err := f.warmUp(ctx, c, w); err != nil {
				return nil, err
			}
		}
	}
	var samples []sample
	for round := range f.rounds {
		for _, w := range f.loads {
			for i := range f.contestants {
				c := f.contestants[(i+round)%len(f.contestants)]
				s, err := f.measure(ctx, c, w)
				if err != nil {
					return nil, c.process.explain(fmt.Errorf("%s at %s: %w", c.name, w.describe(), err))
				}
				s.Round = round + 1
				fmt.Fprintln(os.Stderr, s)
				samples = append(samples, s)
			}
		}
	}
	return samples, nil
}

// warmUp puts a short load, which is not counted, on a contestant.
func (f *setup) warmUp(ctx context.Context, c *contestant, w workload) error {
	if f.warmup < time.Second {
		return nil
	}
	if _, err := f.put(ctx, c, w, f.warmup); err != nil {
		return c.process.explain(fmt.Errorf("warm up %s: %w", c.name, err))
	}
	_, err := c.awaitArchived(ctx)
	return err
}

// measure puts one load on one contestant. It reads the CPU time and the number of requests before and after the load.
func (f *setup) measure(ctx context.Context, c *contestant, w workload) (s sample, err error) {
	pid := c.process.cmd.Process.Pid
	before, err := usageOf(pid, false)
	if err != nil {
		return s, err
	}
	answered, err := f.originRequests(ctx)
	if err != nil {
		return s, err
	}
	peak := watchMemory(pid, fmt.Sprintf("%s %s", w, c.name))
	defer peak()
	report, err := f.put(ctx, c, w, f.duration)
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
	requests := answeredAfter - answered - 1 // without the request for this figure itself
	if requests < report.Requests || report.Requests == 0 {
		return s, fmt.Errorf("the origin answered %d requests, but the client received %d", requests, report.Requests)
	}
	perRequest := func(d time.Duration) float64 { return micros(d) / float64(requests) }
	s = sample{
		Load: w.String(), Contestant: c.name, Requests: requests, Settled: settled,
		CPUMicros: perRequest(after.cpu - before.cpu), LoadMicros: perRequest(loaded.cpu - before.cpu),
		PerSecond: report.PerSecond, Errors: report.Errors, P50Micros: micros(report.P50), P99Micros: micros(report.P99),
		PSSBytes: max(peak(), loaded.pss, after.pss), Processes: loaded.processes,
	}
	if c.admin != "" {
		s.TrafficMicros = perRequest(after.rootCPU - before.rootCPU)
		s.BooksMicros = s.CPUMicros - s.TrafficMicros
	}
	return s, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// String returns the sample on one line, with all figures from which the table is made.
func (s sample) String() string {
	text := fmt.Sprintf("round %d %-8s %-12s %6.2f µs CPU/request", s.Round, s.Load, s.Contestant, s.CPUMicros)
	if s.TrafficMicros > 0 {
		text += fmt.Sprintf(" (traffic %.2f, books %.2f; %.2f during load)", s.TrafficMicros, s.BooksMicros, s.LoadMicros)
	}
	text += fmt.Sprintf(", %d requests, %.0f/s, p50 %s, p99 %s, %.1f MiB", s.Requests, s.PerSecond, latency(s.P50Micros), latency(s.P99Micros), mib(s.PSSBytes))
	if s.Errors > 0 {
		text += fmt.Sprintf(", %d ERRORS", s.Errors)
	}
	if !s.Settled {
		text += ", UNSETTLED"
	}
	return text
}

// watchMemory reads the memory of a process tree once a second. The returned function stops this and returns the maximum. Every minute,
// the memory use is written to standard error.
func watchMemory(pid int, label string) (peak func() uint64) {
	stop, result := make(chan struct{}), make(chan uint64, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var largest uint64
		for seconds := 1; ; seconds++ {
			select {
			case <-stop:
				result <- largest
				return
			case <-tick.C:
			}
			u, err := usageOf(pid, true)
			if err != nil {
				continue // a process has just ended; the reading after the load reports it
			}
			largest = max(largest, u.pss)
			if seconds%60 == 0 {
				fmt.Fprintf(os.Stderr, "%s: %d s, %.1f MiB, %.1f at most\n", label, seconds, mib(u.pss), mib(largest))
			}
		}
	}()
	return sync.OnceValue(func() uint64 {
		close(stop)
		return <-result
	})
}

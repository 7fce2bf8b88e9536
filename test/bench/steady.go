package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

// steadyTemplates is the number of different routes in the steady load: the default of paths.max.
const steadyTemplates = 1000

// steadySample is the result of one contestant at a constant rate.
type steadySample struct {
	name     string
	report   *load.Report
	cpu      time.Duration // of the whole process tree, until the books are settled
	pssMax   uint64        // bytes; the largest reading, with one reading per second
	pssLast  uint64        // bytes, after the books are settled
	settled  bool
	readings int
}

// measureSteady loads the contestants one after the other at a constant rate, and reads their memory once a second. At full
// speed a machine batches work; this measurement shows the cost for a service that is busy and not saturated.
func (f *setup) measureSteady(ctx context.Context) error {
	fmt.Printf("%g requests/s for %v over %d connections, %d routes\n\n", f.steady, f.duration, f.connections[0], steadyTemplates)
	fmt.Printf("%-20s %10s %12s %10s %10s %10s %10s\n", "", "requests/s", "CPU/request", "p50", "p99", "PSS max", "PSS after")
	for _, c := range f.contestants {
		s, err := f.steadyOne(ctx, c)
		if err != nil {
			return c.process.explain(fmt.Errorf("%s at %g requests/s: %w", c.name, f.steady, err))
		}
		note := ""
		if !s.settled {
			note = "  books not settled"
		}
		n := s.report.Completed
		fmt.Printf("%-20s %10.0f %9.2f µs %10v %10v %6.1f MiB %6.1f MiB%s\n", s.name, float64(n)/s.report.Elapsed.Seconds(),
			float64(s.cpu.Nanoseconds())/1000/float64(n), s.report.Latency.Quantile(0.5).Round(10*time.Microsecond),
			s.report.Latency.Quantile(0.99).Round(10*time.Microsecond), mib(s.pssMax), mib(s.pssLast), note)
		if failed := s.report.FailedTotal(); failed > 0 {
			return fmt.Errorf("%s: %d requests failed: %v", s.name, failed, s.report.Errors)
		}
	}
	return nil
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

func (f *setup) steadyOne(ctx context.Context, c *contestant) (s steadySample, err error) {
	pid := c.process.cmd.Process.Pid
	s.name = c.name
	before, err := usageOf(pid, false)
	if err != nil {
		return s, err
	}
	stop, watched := make(chan struct{}), sync.WaitGroup{}
	watched.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if u, err := usageOf(pid, true); err == nil {
				s.pssMax = max(s.pssMax, u.pss)
				s.readings++
			}
			if s.readings%10 == 0 {
				fmt.Fprintf(os.Stderr, "%s: %d s, %.1f MiB at most\n", c.name, s.readings, mib(s.pssMax))
			}
		}
	})
	s.report, err = load.Run(ctx, load.Options{
		Address: c.address, Connections: f.connections[0], Rate: f.steady, Duration: f.duration,
		Request: steadyRequest, Verify: load.ExpectBody(200, []byte(originBody)),
	})
	if err == nil {
		s.settled, err = c.awaitArchived(ctx)
	}
	close(stop)
	watched.Wait()
	if err != nil {
		return s, err
	}
	after, err := usageOf(pid, true)
	s.cpu, s.pssLast = after.cpu-before.cpu, after.pss
	s.pssMax = max(s.pssMax, s.pssLast)
	return s, err
}

// steadyRequest distributes the requests evenly over the routes. Each request has its own identifier.
func steadyRequest(nonce uint64, r *load.Request) {
	r.Path = strconv.AppendUint(append(r.Path[:0], "/area"...), nonce%steadyTemplates/40, 10)
	r.Path = append(r.Path, "/thing"...)
	for k := nonce % 40; ; k /= 6 { // letters, because wayside takes numbers for identifiers
		r.Path = append(r.Path, byte('a'+k%6))
		if k < 6 {
			break
		}
	}
	r.Path = strconv.AppendUint(append(r.Path, '/'), nonce, 10)
}

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

// steadyTemplates is the number of different routes that the steady load asks for, as many as paths.max admits by default.
const steadyTemplates = 1000

// steadySample is what one contestant needed at a constant rate.
type steadySample struct {
	name     string
	report   *load.Report
	cpu      time.Duration // of the whole process tree, until the books had settled
	pssMax   uint64        // bytes; the largest of the readings, one a second
	pssLast  uint64        // bytes, after the books had settled
	settled  bool
	readings int
}

// measureSteady loads each contestant with a constant rate, one after the other, and looks at its memory once a second. At
// full speed a machine batches work; this is what a service costs that is busy, not saturated.
func (f *field) measureSteady(ctx context.Context) error {
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
			return fmt.Errorf("%s failed %d requests: %v", s.name, failed, s.report.Errors)
		}
	}
	return nil
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

func (f *field) steadyOne(ctx context.Context, c *contestant) (s steadySample, err error) {
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
		s.settled, err = c.settle(ctx)
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

// steadyRequest spreads the requests evenly over the routes, each with an identifier of its own.
func steadyRequest(nonce uint64, r *load.Request) {
	r.Path = strconv.AppendUint(append(r.Path[:0], "/area"...), nonce%steadyTemplates/40, 10)
	r.Path = append(r.Path, "/thing"...)
	for k := nonce % 40; ; k /= 6 { // letters: a number would be taken for an identifier
		r.Path = append(r.Path, byte('a'+k%6))
		if k < 6 {
			break
		}
	}
	r.Path = strconv.AppendUint(append(r.Path, '/'), nonce, 10)
}

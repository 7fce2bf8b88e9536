package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/otlptest"
	"github.com/wayside-proxy/wayside/test/procfs"
)

// cost measures both processes under load with three configurations, several times each, in turn.
func (r *rig) cost(ctx context.Context, seconds int, rate float64, other string) error {
	receiver := otlptest.New() // in this process; its CPU time is not measured
	defer receiver.Close()
	endpoint := "WAYSIDE_OTLP_ENDPOINT=" + receiver.URL
	fmt.Printf("%-28s %14s %14s %12s %12s\n", "", "traffic µs/req", "books µs/req", "traffic PSS", "books PSS")
	for round := range 3 {
		for _, c := range []struct {
			name, binary string
			env          []string
		}{
			{"off, the other binary", other, nil},
			{"off", r.binary, nil},
			{"metrics every minute", r.binary, []string{endpoint}},
			{"metrics every second", r.binary, []string{endpoint, "WAYSIDE_OTLP_INTERVAL=1s"}},
			{"metrics and spans of 50 %", r.binary, []string{endpoint, "WAYSIDE_OTLP_SPANS=100%"}},
		} {
			if c.binary == "" {
				continue
			}
			w, err := r.wayside(fmt.Sprintf("cost-%d-%s", round, c.name), c.env...)
			if err != nil {
				return err
			}
			w.Binary = c.binary
			if err := measure(ctx, w, c.name, seconds, rate); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure prints one line of the table.
func measure(ctx context.Context, w *e2e.Wayside, name string, seconds int, rate float64) error {
	if err := w.Start(ctx); err != nil {
		return err
	}
	defer w.Kill()
	o := traced(w.Listen)
	o.Rate, o.Duration = rate, 5*time.Second // a warm-up, until everything is in use
	if _, err := load.Run(ctx, o); err != nil {
		return err
	}
	pids := []int{w.PID(), w.BooksPID()}
	before, err := cpu(pids)
	if err != nil {
		return err
	}
	o.Duration = time.Duration(seconds) * time.Second
	report, err := load.Run(ctx, o)
	if err != nil {
		return err
	}
	after, err := cpu(pids)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s", name)
	for i := range pids {
		fmt.Printf(" %14.2f", float64((after[i]-before[i]).Microseconds())/float64(report.Completed))
	}
	for _, pid := range pids {
		pss, _, err := procfs.PSS(pid)
		if err != nil {
			return err
		}
		fmt.Printf(" %8.1f MiB", float64(pss)/(1<<20))
	}
	fmt.Println()
	return w.Stop(time.Minute)
}

// cpu returns the CPU time of each process.
func cpu(pids []int) (times []time.Duration, err error) {
	for _, pid := range pids {
		stat, err := procfs.ReadStat(pid)
		if err != nil {
			return nil, err
		}
		times = append(times, stat.CPU)
	}
	return times, nil
}

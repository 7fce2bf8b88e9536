package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const restTime = 10 * time.Second // time between a load and a measurement without traffic

// idleResult is the cost of the contestants without traffic.
type idleResult struct {
	Idle        []idleFigures        `json:"idle,omitempty"`
	Connections []connectionsFigures `json:"idle_connections,omitempty"`
	Budgets     []budget             `json:"budgets,omitempty"`
}

// idleFigures is the cost of a contestant that gets no requests. For wayside, it also has the shares of its two processes.
type idleFigures struct {
	Contestant     string  `json:"contestant"`
	CPUPercent     float64 `json:"cpu_percent"`         // percent of one core
	WakeUps        float64 `json:"wake_ups_per_second"` // number of times per second that a thread went to sleep
	TrafficPercent float64 `json:"traffic_cpu_percent,omitempty"`
	TrafficWakeUps float64 `json:"traffic_wake_ups_per_second,omitempty"`
}

func (o *options) idling() bool { return o.idle > 0 || o.idleConns > 0 }

// measureIdle takes measurements after a short load: of all contestants without traffic, and of wayside with idle
// connections.
func (f *setup) measureIdle(ctx context.Context) (r *idleResult, err error) {
	r = &idleResult{}
	for _, c := range f.contestants {
		if _, err := (workload{rate: 2000, connections: 16}).run(ctx, f.dir, c.address, max(f.warmup, time.Second), nil); err != nil {
			return nil, c.process.explain(fmt.Errorf("warm up %s: %w", c.name, err))
		}
	}
	if err := pause(ctx, restTime); err != nil {
		return nil, err
	}
	if f.idle > 0 {
		if r.Idle, err = f.measureRest(ctx); err != nil {
			return nil, err
		}
	}
	for _, c := range f.contestants {
		if c.admin == "" || f.idleConns == 0 {
			continue
		}
		figures, err := f.measureConnections(ctx, c)
		if err != nil {
			return nil, c.process.explain(fmt.Errorf("%s with %d idle connections: %w", c.name, f.idleConns, err))
		}
		r.Connections = append(r.Connections, figures)
	}
	r.judge()
	return r, nil
}

// measureRest measures all contestants at the same time.
func (f *setup) measureRest(ctx context.Context) (all []idleFigures, err error) {
	type reading struct {
		usage
		wakes
	}
	read := func(c *contestant) (r reading, err error) {
		pid := c.process.cmd.Process.Pid
		if r.usage, err = usageOf(pid, false); err == nil {
			r.wakes, err = wakesOf(pid)
		}
		return r, err
	}
	before := make([]reading, len(f.contestants))
	for i, c := range f.contestants {
		if before[i], err = read(c); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	if err := pause(ctx, f.idle); err != nil {
		return nil, err
	}
	for i, c := range f.contestants {
		after, err := read(c)
		if err != nil {
			return nil, err
		}
		seconds := time.Since(began).Seconds()
		percent := func(d time.Duration) float64 { return 100 * d.Seconds() / seconds }
		figures := idleFigures{
			Contestant: c.name, CPUPercent: percent(after.cpu - before[i].cpu), WakeUps: float64(after.all-before[i].all) / seconds,
		}
		if c.admin != "" {
			figures.TrafficPercent = percent(after.rootCPU - before[i].rootCPU)
			figures.TrafficWakeUps = float64(after.root-before[i].root) / seconds
		}
		all = append(all, figures)
	}
	return all, nil
}

// wakes counts the times that the threads of a process tree went to sleep. They woke up the same number of times.
type wakes struct {
	root uint64 // count of the root's own threads
	all  uint64
}

// wakesOf reads the voluntary context switches of all threads. Threads that have ended are not included.
func wakesOf(root int) (w wakes, err error) {
	tree, err := treeOf(root)
	if err != nil {
		return w, err
	}
	for pid := range tree {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			return w, err
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has just ended
			}
			_, after, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
			digits, _, _ := strings.Cut(after, "\n")
			n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
			if err != nil {
				return w, fmt.Errorf("%s: %w", task, err)
			}
			w.all += n
			if pid == root {
				w.root += n
			}
		}
	}
	return w, nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *idleResult) write(out io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	for _, i := range r.Idle {
		fmt.Fprintf(out, "%s without traffic: %.3f %% of a core, %.1f wake-ups/s", i.Contestant, i.CPUPercent, i.WakeUps)
		if i.TrafficWakeUps > 0 {
			fmt.Fprintf(out, " (traffic process %.3f %%, %.1f/s; books process %.3f %%, %.1f/s)", i.TrafficPercent, i.TrafficWakeUps,
				i.CPUPercent-i.TrafficPercent, i.WakeUps-i.TrafficWakeUps)
		}
		fmt.Fprintln(out)
	}
	for _, c := range r.Connections {
		fmt.Fprintf(out, "%s with %d idle connections: %.1f MiB more in the traffic process (%.1f, then %.1f), %.0f bytes each\n",
			c.Contestant, c.Connections, mib(c.With)-mib(c.Before), mib(c.Before), mib(c.With), c.each())
	}
	return writeBudgets(out, r.Budgets)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/wayside-proxy/wayside/test/bench/rig"
)

// result is the outcome of a run of the benchmark.
type result struct {
	Machine  machine  `json:"machine"`
	Duration string   `json:"duration"` // of one load
	Rounds   int      `json:"rounds"`
	Lines    []line   `json:"lines"`
	Samples  []sample `json:"samples"`
}

type machine struct {
	CPUs  int    `json:"cpus"`
	Model string `json:"model"`
	Linux string `json:"linux"`
	Go    string `json:"go"`
	Nginx string `json:"nginx"`
}

// line is one line of the table: medians over the rounds. A ratio is the median of the ratios within each round.
type line struct {
	Contestant  string  `json:"contestant"`
	Connections int     `json:"connections"`
	CPUMicros   float64 `json:"cpu_us"`
	CPURatio    float64 `json:"cpu_ratio"` // 0 if the reference was not measured
	LoadMicros  float64 `json:"cpu_during_load"`
	PerSecond   float64 `json:"requests_per_second"`
	RateRatio   float64 `json:"requests_per_second_ratio"`
	P50Micros   float64 `json:"p50_us"`
	P99Micros   float64 `json:"p99_us"`
	PSSBytes    float64 `json:"pss_bytes"`
	Errors      uint64  `json:"errors"`    // sum over the rounds
	Unsettled   int     `json:"unsettled"` // rounds after which the books did not settle in time
}

// summarise fills Lines from Samples.
func (r *result) summarise(connections []int, names []string) {
	for _, n := range connections {
		for _, name := range names {
			r.Lines = append(r.Lines, r.lineOf(name, n))
		}
	}
}

func (r *result) lineOf(name string, connections int) line {
	l := line{Contestant: name, Connections: connections}
	own, ref := r.samplesOf(name, connections), r.samplesOf(reference, connections)
	of := func(value func(s sample) float64) float64 {
		values := make([]float64, 0, len(own))
		for _, s := range own {
			values = append(values, value(s))
		}
		return rig.Median(values)
	}
	ratio := func(value func(s sample) float64) float64 {
		var ratios []float64
		for i := range min(len(own), len(ref)) {
			ratios = append(ratios, value(own[i])/value(ref[i]))
		}
		return rig.Median(ratios)
	}
	cpu := func(s sample) float64 { return s.CPUMicros }
	rate := func(s sample) float64 { return s.PerSecond }
	l.CPUMicros, l.CPURatio = of(cpu), ratio(cpu)
	l.PerSecond, l.RateRatio = of(rate), ratio(rate)
	l.LoadMicros = of(func(s sample) float64 { return s.LoadMicros })
	l.P50Micros = of(func(s sample) float64 { return s.P50Micros })
	l.P99Micros = of(func(s sample) float64 { return s.P99Micros })
	l.PSSBytes = of(func(s sample) float64 { return float64(s.PSSBytes) })
	for _, s := range own {
		l.Errors += s.Errors
		if !s.Settled {
			l.Unsettled++
		}
	}
	return l
}

// samplesOf returns a contestant's samples in the order of the rounds.
func (r *result) samplesOf(name string, connections int) (samples []sample) {
	for _, s := range r.Samples {
		if s.Contestant == name && s.Connections == connections {
			samples = append(samples, s)
		}
	}
	return samples
}

func (r *result) write(out io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	m := r.Machine
	fmt.Fprintf(out, "\n%d × %s, Linux %s, %s, %s; %d rounds of %s, medians; ratios (×) to %s within each round\n",
		m.CPUs, m.Model, m.Linux, m.Go, m.Nginx, r.Rounds, r.Duration, reference)
	connections := 0
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, l := range r.Lines {
		if l.Connections != connections {
			connections = l.Connections
			fmt.Fprintf(w, "\n%d connections\tCPU/request\t×\trequests/s\t×\tp50\tp99\tPSS\tnotes\t\n", connections)
		}
		fmt.Fprintf(w, "%s\t%.2f µs\t%.2f\t%.0f\t%.2f\t%s\t%s\t%.1f MiB\t%s\t\n", l.Contestant, l.CPUMicros, l.CPURatio,
			l.PerSecond, l.RateRatio, latency(l.P50Micros), latency(l.P99Micros), l.PSSBytes/(1<<20), l.notes())
	}
	return w.Flush()
}

func (l *line) notes() string {
	var notes []string
	if l.LoadMicros > 0 && l.CPUMicros/l.LoadMicros > 1.01 {
		notes = append(notes, fmt.Sprintf("%.2f µs during load", l.LoadMicros))
	}
	if l.Errors > 0 {
		notes = append(notes, fmt.Sprintf("%d ERRORS", l.Errors))
	}
	if l.Unsettled > 0 {
		notes = append(notes, fmt.Sprintf("%d rounds UNSETTLED", l.Unsettled))
	}
	return strings.Join(notes, ", ")
}

func latency(us float64) string {
	if us < 1000 {
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.2f ms", us/1000)
}

// check fails if requests failed, or if wayside's CPU ratio at the last number of connections is above the limit.
func (r *result) check(maxRatio float64) error {
	for i := len(r.Lines) - 1; i >= 0; i-- {
		l := &r.Lines[i]
		if l.Errors > 0 {
			return fmt.Errorf("%s: %d requests failed with %d connections", l.Contestant, l.Errors, l.Connections)
		}
	}
	for i := len(r.Lines) - 1; i >= 0; i-- {
		if l := &r.Lines[i]; l.Contestant == "wayside" && maxRatio > 0 {
			if l.CPURatio > maxRatio {
				return fmt.Errorf("wayside needs %.2f times the CPU of %s; the limit is %.2f", l.CPURatio, reference, maxRatio)
			}
			break
		}
	}
	return nil
}

// checkBefore compares wayside with the older binary, if it was measured, at each number of connections: the median of the
// ratios within each round. It fails if wayside needs more than maxSlower per cent more; 0 sets no limit.
func (r *result) checkBefore(out io.Writer, maxSlower float64) error {
	for i := range r.Lines {
		l := &r.Lines[i]
		own, before := r.samplesOf("wayside", l.Connections), r.samplesOf("before", l.Connections)
		if l.Contestant != "before" || len(own) == 0 {
			continue
		}
		var ratios []float64
		for k := range min(len(own), len(before)) {
			ratios = append(ratios, own[k].CPUMicros/before[k].CPUMicros)
		}
		slower := 100 * (rig.Median(ratios) - 1)
		fmt.Fprintf(out, "%d connections: wayside needs %+.1f %% CPU per request compared with before, median of %d rounds\n", l.Connections, slower, len(ratios))
		if maxSlower > 0 && slower > maxSlower {
			return fmt.Errorf("wayside needs %.1f %% more CPU than before; the limit is %.1f", slower, maxSlower)
		}
	}
	return nil
}

func describeMachine(ctx context.Context) machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Model: "unknown CPU", Linux: "unknown", Nginx: "nginx"}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Linux = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(text), "model name"); ok {
			name, _, _ := strings.Cut(after, "\n")
			m.Model = strings.TrimLeft(name, " \t:")
		}
	}
	if text, err := exec.CommandContext(ctx, "nginx", "-v").CombinedOutput(); err == nil {
		m.Nginx = strings.TrimPrefix(strings.TrimSpace(string(text)), "nginx version: ")
	}
	return m
}

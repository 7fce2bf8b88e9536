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
	Duration string   `json:"duration"` // length of one load
	Rounds   int      `json:"rounds"`
	Lines    []line   `json:"lines"`
	Budgets  []budget `json:"budgets"`
	Samples  []sample `json:"samples"`
}

type machine struct {
	CPUs    int    `json:"cpus"`
	Model   string `json:"model"`
	Linux   string `json:"linux"`
	Go      string `json:"go"`
	Nginx   string `json:"nginx"`
	HAProxy string `json:"haproxy"`
}

// line is one line of the table, with medians over the rounds. A ratio is the median of the ratios within each round,
// or 0 if the reference was not measured.
type line struct {
	Load          string  `json:"load"`
	Contestant    string  `json:"contestant"`
	CPUMicros     float64 `json:"cpu_us"`
	CPURatio      float64 `json:"cpu_ratio"`
	LoadMicros    float64 `json:"cpu_during_load"`
	TrafficMicros float64 `json:"cpu_traffic_us,omitempty"`
	BooksMicros   float64 `json:"cpu_books_us,omitempty"`
	PerSecond     float64 `json:"requests_per_second"`
	RateRatio     float64 `json:"requests_per_second_ratio"`
	P50Micros     float64 `json:"p50_us"`
	P99Micros     float64 `json:"p99_us"`
	P99Ratio      float64 `json:"p99_ratio"`
	PSSBytes      float64 `json:"pss_bytes"`
	Errors        uint64  `json:"errors"`    // sum over the rounds
	Unsettled     int     `json:"unsettled"` // number of rounds after which the books did not settle in time
}

// summarise computes Lines from Samples.
func (r *result) summarise(loads []workload, names []string) {
	for _, w := range loads {
		for _, name := range names {
			r.Lines = append(r.Lines, r.lineOf(name, w.String()))
		}
	}
}

func (s sample) cpu() float64  { return s.CPUMicros }
func (s sample) rate() float64 { return s.PerSecond }
func (s sample) p99() float64  { return s.P99Micros }

// serving returns the CPU time per request without that of the books process.
func (s sample) serving() float64 { return s.CPUMicros - s.BooksMicros }

func (r *result) lineOf(name, load string) line {
	own, ref := r.samplesOf(name, load), r.samplesOf(reference, load)
	l := line{
		Load: load, Contestant: name,
		CPUMicros:     rig.MedianOf(own, sample.cpu),
		CPURatio:      rig.Median(ratios(own, ref, sample.cpu)),
		LoadMicros:    rig.MedianOf(own, func(s sample) float64 { return s.LoadMicros }),
		TrafficMicros: rig.MedianOf(own, func(s sample) float64 { return s.TrafficMicros }),
		BooksMicros:   rig.MedianOf(own, func(s sample) float64 { return s.BooksMicros }),
		PerSecond:     rig.MedianOf(own, sample.rate),
		RateRatio:     rig.Median(ratios(own, ref, sample.rate)),
		P50Micros:     rig.MedianOf(own, func(s sample) float64 { return s.P50Micros }),
		P99Micros:     rig.MedianOf(own, sample.p99),
		P99Ratio:      rig.Median(ratios(own, ref, sample.p99)),
		PSSBytes:      rig.MedianOf(own, func(s sample) float64 { return float64(s.PSSBytes) }),
	}
	for _, s := range own {
		l.Errors += s.Errors
		if !s.Settled {
			l.Unsettled++
		}
	}
	return l
}

// ratios divides a figure of two contestants, round by round.
func ratios(own, other []sample, figure func(sample) float64) (list []float64) {
	for i := range min(len(own), len(other)) {
		list = append(list, figure(own[i])/figure(other[i]))
	}
	return list
}

// samplesOf returns a contestant's samples in the order of the rounds.
func (r *result) samplesOf(name, load string) (samples []sample) {
	for _, s := range r.Samples {
		if s.Contestant == name && s.Load == load {
			samples = append(samples, s)
		}
	}
	return samples
}

// find returns the line of a contestant, or nil.
func (r *result) find(name string, w workload) *line {
	for i := range r.Lines {
		if l := &r.Lines[i]; l.Contestant == name && l.Load == w.String() {
			return l
		}
	}
	return nil
}

func (r *result) write(out io.Writer, loads []workload, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	m := r.Machine
	fmt.Fprintf(out, "\n%d × %s, Linux %s, %s, %s, %s; %d rounds of %s, medians; ratios (×) to %s within each round\n",
		m.CPUs, m.Model, m.Linux, m.Go, m.Nginx, m.HAProxy, r.Rounds, r.Duration, reference)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, load := range loads {
		fmt.Fprintf(w, "\n%s\tCPU/request\t×\ttraffic\tbooks\trequests/s\t×\tp50\tp99\t×\tPSS\tnotes\t\n", load.describe())
		for _, l := range r.Lines {
			if l.Load != load.String() {
				continue
			}
			fmt.Fprintf(w, "%s\t%.2f µs\t%.2f\t%s\t%.0f\t%.2f\t%s\t%s\t%.2f\t%.1f MiB\t%s\t\n", l.Contestant, l.CPUMicros, l.CPURatio, l.split(),
				l.PerSecond, l.RateRatio, latency(l.P50Micros), latency(l.P99Micros), l.P99Ratio, l.PSSBytes/(1<<20), l.notes())
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return writeBudgets(out, r.Budgets)
}

// split returns the columns of wayside's two processes, which are empty for other contestants.
func (l *line) split() string {
	if l.TrafficMicros == 0 {
		return "\t"
	}
	return fmt.Sprintf("%.2f\t%.2f", l.TrafficMicros, l.BooksMicros)
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

func describeMachine(ctx context.Context) machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Model: "unknown CPU", Linux: "unknown", Nginx: "nginx", HAProxy: "haproxy"}
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
	if text, err := exec.CommandContext(ctx, "haproxy", "-v").Output(); err == nil {
		line, _, _ := strings.Cut(string(text), " 20") // without the date and the links
		m.HAProxy = line
	}
	return m
}

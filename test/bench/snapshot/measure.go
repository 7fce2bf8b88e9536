package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// One turn of a contestant, and what all turns come to.

// turn is what one measurement of one contestant came to.
type turn struct {
	rate      float64 // requests a second
	processor float64 // microseconds a request
}

func (t turn) perSecond() float64  { return t.rate }
func (t turn) perRequest() float64 { return t.processor }

// figures are the turns of each contestant, round by round.
type figures [contestants][]turn

// median is the median over the turns of a contestant.
func (f figures) median(of int, what func(turn) float64) float64 {
	var values []float64
	for _, t := range f[of] {
		values = append(values, what(t))
	}
	return median(values)
}

// ratio is the median of the rounds' ratios, wayside to another: what disturbs a round disturbs all.
func (f figures) ratio(other int, what func(turn) float64) float64 {
	var ratios []float64
	for i := range f[other] {
		ratios = append(ratios, what(f[ofWayside][i])/what(f[other][i]))
	}
	return median(ratios)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func (f figures) result(when string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", when)
	for of, name := range contestantNames {
		fmt.Fprintf(&b, "  %-26s %7.0f/s %6.2f µs", name, f.median(of, turn.perSecond), f.median(of, turn.perRequest))
		if of != ofWayside {
			fmt.Fprintf(&b, "   ratios %.2f, %.2f", f.ratio(of, turn.perSecond), f.ratio(of, turn.perRequest))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// pids are the processes that answer for a contestant.
func (s *setup) pids(of int) ([]int, error) {
	if of == ofWayside {
		return []int{s.wayside.PID()}, nil
	}
	master := s.nginx[of-ofNginx].Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", master))
	pids := []int{master}
	for _, field := range strings.Fields(string(children)) {
		pid, atoi := strconv.Atoi(field)
		pids, err = append(pids, pid), errors.Join(err, atoi)
	}
	return pids, err
}

// processorTime is what processes have used so far.
func processorTime(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			return 0, fmt.Errorf("no processor time of %d: %w", pid, err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				return 0, err
			}
			first, _, _ := strings.Cut(string(text), " ")
			n, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n)
		}
	}
	return sum, nil
}

// measure is one turn of one contestant.
func (s *setup) measure(ctx context.Context, of int, d time.Duration) (t turn, err error) {
	pids, err := s.pids(of)
	if err != nil {
		return t, err
	}
	before, err := processorTime(pids)
	if err != nil {
		return t, err
	}
	requests, rate, err := wrk(ctx, s.urls[of], d)
	if err != nil {
		return t, err
	}
	after, err := processorTime(pids)
	return turn{rate, float64((after - before).Nanoseconds()) / 1000 / requests}, err
}

var (
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
)

func wrk(ctx context.Context, url string, d time.Duration) (requests, rate float64, err error) {
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c32", "-d"+strconv.FormatFloat(d.Seconds(), 'f', 0, 64)+"s", url).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if strings.Contains(string(out), "Non-2xx") {
		return 0, 0, fmt.Errorf("wrk got other answers than 200: %s", out)
	}
	for into, figure := range map[*float64]*regexp.Regexp{&requests: wrkRequests, &rate: wrkRate} {
		match := figure.FindSubmatch(out)
		if match == nil {
			return 0, 0, fmt.Errorf("wrk says nothing of %s: %s", figure, out)
		}
		if *into, err = strconv.ParseFloat(string(match[1]), 64); err != nil {
			return 0, 0, err
		}
	}
	return requests, rate, nil
}

package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// H2load puts load on a server over HTTP/2 with h2load, which must be installed. Each connection has a number of requests in progress. uris is a
// file with one URL per line, and log a file that H2load writes and removes.
func H2load(ctx context.Context, uris, log string, connections, streams int, duration time.Duration) (WrkReport, error) {
	defer func() { _ = os.Remove(log) }()
	output, err := exec.CommandContext(ctx, "h2load", "-i", uris, "-t", "2", "-c", strconv.Itoa(connections), "-m", strconv.Itoa(streams),
		"-D", strconv.Itoa(int(duration.Round(time.Second).Seconds())), "--warm-up-time=0", "--log-file="+log).CombinedOutput()
	if err != nil {
		return WrkReport{}, fmt.Errorf("h2load: %w: %.2000s", err, output)
	}
	r, err := parseH2load(string(output))
	if err != nil {
		return r, err
	}
	f, err := os.Open(log)
	if err != nil {
		return r, err
	}
	defer f.Close()
	times, err := h2loadTimes(bufio.NewScanner(f))
	if err != nil {
		return r, err
	}
	r.P50, r.P99 = times[len(times)/2], times[len(times)*99/100]
	return r, nil
}

var (
	h2loadRate   = regexp.MustCompile(`(?m)^finished in .*, ([\d.]+) req/s`)
	h2loadCounts = regexp.MustCompile(`(?m)^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatus = regexp.MustCompile(`(?m)^status codes: \d+ 2xx, \d+ 3xx, (\d+) 4xx, (\d+) 5xx`)
)

func parseH2load(output string) (r WrkReport, err error) {
	rate, counts, status := h2loadRate.FindStringSubmatch(output), h2loadCounts.FindStringSubmatch(output), h2loadStatus.FindStringSubmatch(output)
	if rate == nil || counts == nil || status == nil {
		return r, fmt.Errorf("the output of h2load has no rate or no counts:\n%.2000s", output)
	}
	number := func(digits string) uint64 {
		n, _ := strconv.ParseUint(digits, 10, 64) // the patterns match only digits
		return n
	}
	r.Requests = number(counts[1])
	for _, digits := range append(counts[2:], status[1:]...) {
		r.Errors += number(digits)
	}
	if r.PerSecond, err = strconv.ParseFloat(rate[1], 64); err != nil || r.Requests == 0 {
		return r, fmt.Errorf("the output of h2load has no completed request:\n%.2000s", output)
	}
	return r, nil
}

// h2loadTimes reads the times of all requests from h2load's log and sorts them. The third column of a line is the time in microseconds.
func h2loadTimes(lines *bufio.Scanner) (times []time.Duration, err error) {
	for lines.Scan() {
		columns := strings.Fields(lines.Text())
		if len(columns) < 3 {
			return nil, fmt.Errorf("line %q in the log of h2load", lines.Text())
		}
		n, err := strconv.ParseInt(columns[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("log of h2load: %w", err)
		}
		times = append(times, time.Duration(n)*time.Microsecond)
	}
	if len(times) == 0 {
		return nil, errors.Join(errors.New("the log of h2load is empty"), lines.Err())
	}
	slices.Sort(times)
	return times, lines.Err()
}

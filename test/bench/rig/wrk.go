package rig

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// WrkReport is the result of one run of wrk.
type WrkReport struct {
	Requests  uint64
	PerSecond float64
	P50, P99  time.Duration
	Errors    uint64 // socket errors, and statuses other than 2xx and 3xx
}

// Wrk puts load on a URL with wrk, which must be installed. script is a file with a Lua script, or empty.
func Wrk(ctx context.Context, url string, threads, connections int, duration time.Duration, script string) (WrkReport, error) {
	args := []string{
		"-t", strconv.Itoa(min(threads, connections)), "-c", strconv.Itoa(connections),
		"-d", strconv.Itoa(int(duration.Round(time.Second).Seconds())) + "s", "--latency",
	}
	if script != "" {
		args = append(args, "-s", script)
	}
	output, err := exec.CommandContext(ctx, "wrk", append(args, url)...).CombinedOutput()
	if err != nil {
		return WrkReport{}, fmt.Errorf("wrk: %w: %s", err, output)
	}
	return parseWrk(string(output))
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s*([\d.]+)`)
	wrkQuantile = regexp.MustCompile(`(?m)^\s*(50|99)%\s+([\d.]+(?:us|ms|s|m|h))`)
	wrkSocket   = regexp.MustCompile(`(?m)Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus   = regexp.MustCompile(`(?m)Non-2xx or 3xx responses: (\d+)`)
)

func parseWrk(output string) (r WrkReport, err error) {
	fail := func(missing string) (WrkReport, error) {
		return WrkReport{}, fmt.Errorf("the output of wrk has no %s:\n%s", missing, output)
	}
	m := wrkRequests.FindStringSubmatch(output)
	if m == nil {
		return fail("number of requests")
	}
	if r.Requests, err = strconv.ParseUint(m[1], 10, 64); err != nil {
		return r, err
	}
	if m = wrkRate.FindStringSubmatch(output); m == nil {
		return fail("rate")
	}
	if r.PerSecond, err = strconv.ParseFloat(m[1], 64); err != nil {
		return r, err
	}
	quantiles := wrkQuantile.FindAllStringSubmatch(output, -1)
	if len(quantiles) != 2 {
		return fail("p50 and p99")
	}
	var err50, err99 error
	r.P50, err50 = time.ParseDuration(quantiles[0][2])
	r.P99, err99 = time.ParseDuration(quantiles[1][2])
	if err := errors.Join(err50, err99); err != nil {
		return r, err
	}
	for _, pattern := range []*regexp.Regexp{wrkSocket, wrkStatus} {
		if m := pattern.FindStringSubmatch(output); m != nil {
			for _, digits := range m[1:] {
				n, _ := strconv.ParseUint(digits, 10, 64) // the pattern matches only digits
				r.Errors += n
			}
		}
	}
	if r.Requests == 0 {
		return fail("completed request")
	}
	return r, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// wrkScript asks for 1,000 different paths in turn: pages, users, and orders with a UUID. The requests are built once.
const wrkScript = `local requests, n = {}, 0
init = function(args)
  math.randomseed(42)
  for i = 1, 250 do
    local order = string.format("%08x-%04x-4%03x-8%03x-%06x%06x", math.random(0, 0x7fffffff), math.random(0, 0xffff),
      math.random(0, 0xfff), math.random(0, 0xfff), math.random(0, 0xffffff), math.random(0, 0xffffff))
    table.insert(requests, wrk.format("GET", "/"))
    table.insert(requests, wrk.format("GET", "/assets/app-" .. (i % 10) .. ".js"))
    table.insert(requests, wrk.format("GET", "/users/" .. i))
    table.insert(requests, wrk.format("GET", "/users/" .. i .. "/orders/" .. order))
  end
end
request = function()
  n = n % #requests + 1
  return requests[n]
end
`

// wrkReport is what wrk says about one load.
type wrkReport struct {
	Requests  uint64
	PerSecond float64
	P50, P99  time.Duration
	Errors    uint64 // socket errors and statuses other than 2xx and 3xx
}

// runWrk loads an address with two threads, or one for a single connection.
func runWrk(ctx context.Context, dir, address string, connections int, duration time.Duration) (wrkReport, error) {
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return wrkReport{}, err
	}
	cmd := exec.CommandContext(ctx, "wrk", "-t", strconv.Itoa(min(2, connections)), "-c", strconv.Itoa(connections),
		"-d", strconv.Itoa(int(duration.Round(time.Second).Seconds()))+"s", "--latency", "-s", script, "http://"+address+"/")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return wrkReport{}, fmt.Errorf("wrk: %w: %s", err, output)
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

func parseWrk(output string) (r wrkReport, err error) {
	fail := func(what string) (wrkReport, error) {
		return wrkReport{}, fmt.Errorf("wrk's output has no %s:\n%s", what, output)
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
				n, _ := strconv.ParseUint(digits, 10, 64) // the pattern lets digits through only
				r.Errors += n
			}
		}
	}
	if r.Requests == 0 {
		return fail("completed request")
	}
	return r, nil
}

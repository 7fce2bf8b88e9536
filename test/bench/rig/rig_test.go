package rig

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

const wrkOutput = `Running 5s test @ http://127.0.0.1:8080/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.45ms    2.54ms  33.32ms   94.79%
    Req/Sec    32.34k     6.63k   47.34k    70.00%
  Latency Distribution
     50%  820.00us
     75%    1.36ms
     90%    2.68ms
     99%   13.54ms
  321906 requests in 5.01s, 124.03MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  64282.62
Transfer/sec:     24.77MB
`

func TestParseWrk(t *testing.T) {
	r, err := parseWrk(wrkOutput)
	want := WrkReport{Requests: 321906, PerSecond: 64282.62, P50: 820 * time.Microsecond, P99: 13540 * time.Microsecond, Errors: 15}
	if err != nil || r != want {
		t.Errorf("%+v, %v; want %+v", r, err, want)
	}
	for _, cut := range []string{"requests in", "50%  ", "Requests/sec:"} {
		if _, err := parseWrk(strings.Replace(wrkOutput, cut, "", 1)); err == nil {
			t.Errorf("output without %q is accepted", cut)
		}
	}
}

const h2loadOutput = `starting benchmark...
Main benchmark duration is over for thread #0. Stopping all clients.

finished in 5.00s, 46381.40 req/s, 14.02MB/s
requests: 231907 total, 231971 started, 231907 done, 231907 succeeded, 1 failed, 2 errored, 3 timeout
status codes: 231907 2xx, 0 3xx, 4 4xx, 5 5xx
traffic: 70.12MB (73527000) total, 3.10MB (3247000) headers (space savings 88.00%), 56.62MB (59368192) data
`

func TestParseH2load(t *testing.T) {
	r, err := parseH2load(h2loadOutput)
	want := WrkReport{Requests: 231907, PerSecond: 46381.40, Errors: 15}
	if err != nil || r != want {
		t.Errorf("%+v, %v; want %+v", r, err, want)
	}
	for _, cut := range []string{"finished in", "succeeded", "status codes"} {
		if _, err := parseH2load(strings.Replace(h2loadOutput, cut, "", 1)); err == nil {
			t.Errorf("output without %q is accepted", cut)
		}
	}
	times, err := h2loadTimes(bufio.NewScanner(strings.NewReader("1764460800000000\t200\t300\n1764460800000001\t200\t100\n")))
	if err != nil || len(times) != 2 || times[0] != 100*time.Microsecond || times[1] != 300*time.Microsecond {
		t.Error(times, err)
	}
	for _, bad := range []string{"", "1\t200\n", "1\t200\tx\n"} {
		if times, err := h2loadTimes(bufio.NewScanner(strings.NewReader(bad))); err == nil {
			t.Errorf("%q gives %v", bad, times)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{1, 9, 3, 5}, 4}} {
		if got := Median(c.values); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

package rig

import (
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

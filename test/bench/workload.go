package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/bench/rig"
)

// pacedTemplates is the number of different routes in a load at a constant rate: the default of paths.max.
const pacedTemplates = 1000

// workload is a rate of requests over a number of connections.
type workload struct {
	rate        int // requests per second; 0 for full speed
	connections int
	fresh       bool // each request has a new connection; at most connections exist at a time
}

// freshAtATime is the number of connections that a load with new connections may have at a time.
const freshAtATime = 16

// parseWorkloads reads a list such as 2000/16,full/64.
func parseWorkloads(list string) (loads []workload, err error) {
	for field := range strings.SplitSeq(list, ",") {
		rate, connections, _ := strings.Cut(field, "/")
		var w workload
		var rateErr, connErr error
		if rate != "full" {
			w.rate, rateErr = strconv.Atoi(rate)
		}
		if w.fresh = connections == "new" && w.rate > 0; w.fresh {
			w.connections = freshAtATime
		} else {
			w.connections, connErr = strconv.Atoi(connections)
		}
		if rateErr != nil || connErr != nil || rate != "full" && w.rate < 1 || w.connections < 1 || w.connections > 10_000 {
			return nil, fmt.Errorf("load %q: write RATE/CONNECTIONS, as in 2000/16 or full/64, with 1 to 10000 connections, or RATE/new", field)
		}
		loads = append(loads, w)
	}
	return loads, nil
}

// String returns the form that parseWorkloads reads.
func (w workload) String() string {
	switch {
	case w.rate == 0:
		return fmt.Sprintf("full/%d", w.connections)
	case w.fresh:
		return fmt.Sprintf("%d/new", w.rate)
	}
	return fmt.Sprintf("%d/%d", w.rate, w.connections)
}

// describe returns the workload as a table title.
func (w workload) describe() string {
	switch {
	case w.rate == 0:
		return fmt.Sprintf("full speed, %d connections", w.connections)
	case w.fresh:
		return fmt.Sprintf("%d/s, each on a new connection", w.rate)
	}
	return fmt.Sprintf("%d/s, %d connections", w.rate, w.connections)
}

// run puts load on an address: at full speed with wrk and two threads, or at a constant rate from this process. The clients use TLS unless
// encryption is nil.
func (w workload) run(ctx context.Context, dir, address string, duration time.Duration, encryption *tls.Config) (rig.WrkReport, error) {
	if w.rate > 0 {
		return w.runPaced(ctx, address, duration, encryption)
	}
	scheme := "http://"
	if encryption != nil {
		scheme = "https://"
	}
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return rig.WrkReport{}, err
	}
	return rig.Wrk(ctx, scheme+address+"/", 2, w.connections, duration, script)
}

// runPaced measures latency from the time at which a request was due.
func (w workload) runPaced(ctx context.Context, address string, duration time.Duration, encryption *tls.Config) (rig.WrkReport, error) {
	request := pacedRequest
	if w.fresh {
		request = func(nonce uint64, r *load.Request) {
			pacedRequest(nonce, r)
			r.Header = append(r.Header, "Connection: close\r\n"...)
		}
	}
	r, err := load.Run(ctx, load.Options{
		Address: address, Connections: w.connections, Rate: float64(w.rate), Duration: duration, TLS: encryption,
		Request: request, Verify: load.ExpectBody(200, []byte(originBody)),
	})
	if err == nil {
		err = ctx.Err() // an interrupted load itself ends without an error
	}
	if err == nil && w.fresh && r.Dials < r.Sent {
		err = fmt.Errorf("%d connections for %d requests: each must have its own", r.Dials, r.Sent)
	}
	if err != nil {
		return rig.WrkReport{}, err
	}
	if r.DialError != nil {
		fmt.Fprintln(os.Stderr, "connect:", r.DialError)
	}
	for _, failure := range r.Errors {
		fmt.Fprintln(os.Stderr, failure)
	}
	return rig.WrkReport{
		Requests: r.Completed, PerSecond: r.PerSecond(), Errors: r.FailedTotal() + r.DialErrors,
		P50: r.Latency.Quantile(0.5), P99: r.Latency.Quantile(0.99),
	}, nil
}

// pacedRequest distributes the requests evenly over the routes. Each request has its own identifier.
func pacedRequest(nonce uint64, r *load.Request) {
	r.Path = strconv.AppendUint(append(r.Path[:0], "/area"...), nonce%pacedTemplates/40, 10)
	r.Path = append(r.Path, "/thing"...)
	for k := nonce % 40; ; k /= 6 { // in letters, because wayside would treat numbers as identifiers
		r.Path = append(r.Path, byte('a'+k%6))
		if k < 6 {
			break
		}
	}
	r.Path = strconv.AppendUint(append(r.Path, '/'), nonce, 10)
}

// wrkScript requests 1,000 different paths in turn: pages, users, and orders with a UUID. It builds the requests only once.
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

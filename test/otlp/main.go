// Command otlp proves that the metrics and spans that wayside exports agree with its books. It uses a real OpenTelemetry Collector, which
// it builds first. It also measures the cost of the export.
//
//	go run ./test/otlp prove [-requests 100000]   the collector restarts; its metrics and spans must still equal the archive
//	go run ./test/otlp cost [-seconds 30]         memory and CPU time of both processes without the export, with metrics, with spans
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/e2e"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "otlp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("otlp", flag.ExitOnError)
	requests := flags.Uint64("requests", 100_000, "prove: number of requests, of which half are sampled")
	seconds := flags.Int("seconds", 30, "cost: duration of each measurement")
	rate := flags.Float64("rate", 2000, "cost: requests per second, of which half are sampled")
	binary := flags.String("binary", "", "the binary to use; default: build it")
	other := flags.String("other", "", "cost: another binary, such as an older version, which is also measured without the export")
	if len(args) == 0 {
		return fmt.Errorf("name prove or cost")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "otlp")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if *binary == "" {
		if *binary, err = e2e.Build(ctx, dir); err != nil {
			return err
		}
	}
	origin, stop, err := e2e.StartOrigin()
	if err != nil {
		return err
	}
	defer stop()
	r := rig{dir: dir, binary: *binary, origin: origin}
	switch args[0] {
	case "prove":
		return r.prove(ctx, *requests)
	case "cost":
		return r.cost(ctx, *seconds, *rate, *other)
	}
	return fmt.Errorf("unknown command %q: name prove or cost", args[0])
}

// rig holds everything that both commands use.
type rig struct {
	dir, binary, origin string
}

// traced returns the options of a load in which every second request has a traceparent with the sampled flag, and every fourth has one
// without that flag.
func traced(address string) load.Options {
	return load.Options{Address: address, Host: "shop", Request: func(nonce uint64, r *load.Request) {
		path, flags := e2e.SampledPrefix, "01"
		switch nonce % 4 {
		case 0:
			path, flags = "/unsampled/", "00"
		case 1:
			path, flags = "/untraced/", ""
		}
		r.Path = strconv.AppendUint(append(r.Path[:0], strings.TrimSuffix(path, "/")+"/n/"...), nonce, 10)
		if r.Header = r.Header[:0]; flags != "" {
			r.Header = fmt.Appendf(r.Header, "traceparent: 00-%032x-%016x-%s\r\n", nonce+1, nonce+1, flags)
		}
	}}
}

// Command http runs the long proofs of the traffic path. Each proof has its own wayside:
//
//	go run ./test/http mixed   a million nonces in every kind of request: none crossed, none replayed, the books agree
//	go run ./test/http memory  1 GiB down and up, and 1,000 connections that declare 4 MiB and send nothing
//	go run ./test/http slow    slowhttptest -H, -B and -X with 1,000 connections, next to healthy requests
//	go run ./test/http reload  100 reloads under load
//	go run ./test/http stop    100 SIGTERMs under load; -uid 65532: without privileges
//	go run ./test/http sse     the delay that relaying adds to server-sent events
//
// The same proofs over HTTP/2, half in cleartext and half over TLS:
//
//	go run ./test/http -streams 1000000 mixed-http2   with resets, truncations, timeouts and GOAWAY on both sides
//	go run ./test/http reload-http2
//	go run ./test/http stop-http2
//
// Each outcome, even a failure, is appended to docs/evidence/http.md with the commit and the seed. The tests run short forms.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

// proof is one of the command's subjects. It returns its measurements, and an error if the promise does not hold.
type proof func(ctx context.Context, r *rig, o options) (measured string, err error)

type options struct {
	requests uint64
	streams  uint64
	cycles   int
	seed     uint64
	uid      uint
	evidence string
	verbose  bool
}

var proofs = map[string]proof{
	"mixed":  func(ctx context.Context, r *rig, o options) (string, error) { return mixed(ctx, r, o.requests, o.seed) },
	"memory": func(ctx context.Context, r *rig, _ options) (string, error) { return memory(ctx, r, 1<<30) },
	"slow":   func(ctx context.Context, r *rig, _ options) (string, error) { return slow(ctx, r) },
	"reload": func(ctx context.Context, r *rig, o options) (string, error) { return reloads(ctx, r, o.cycles) },
	"stop":   func(ctx context.Context, r *rig, o options) (string, error) { return stops(ctx, r, o.cycles) },
	"mixed-http2": func(ctx context.Context, r *rig, o options) (string, error) {
		return mixedHTTP2(ctx, r, o.streams, o.seed)
	},
	"reload-http2": func(ctx context.Context, r *rig, o options) (string, error) {
		return overHTTP2(ctx, r, func(ctx context.Context, sub *rig) (string, error) { return reloads(ctx, sub, o.cycles/2) })
	},
	"stop-http2": func(ctx context.Context, r *rig, o options) (string, error) {
		return overHTTP2(ctx, r, func(ctx context.Context, sub *rig) (string, error) { return stops(ctx, sub, o.cycles/2) })
	},
	"sse": func(ctx context.Context, r *rig, _ options) (string, error) { return sse(ctx, r, 10*time.Second) },
}

func main() {
	var o options
	flag.Uint64Var(&o.requests, "requests", 1_000_000, "requests of the mixed proof")
	flag.Uint64Var(&o.streams, "streams", 20_000, "requests of the mixed proof over HTTP/2; a million is the complete proof")
	flag.IntVar(&o.cycles, "cycles", 100, "reloads, or SIGTERMs")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "decides the kind of each request")
	flag.UintVar(&o.uid, "uid", 0, "user of wayside, if root runs this command; 0: the user of this command")
	flag.StringVar(&o.evidence, "evidence", "docs/evidence/http.md", "file to which the outcome is appended; empty: none")
	flag.BoolVar(&o.verbose, "v", false, "show wayside's log")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/http [flags] "+strings.Join(slices.Sorted(maps.Keys(proofs)), "|"))
		flag.PrintDefaults()
	}
	flag.Parse()
	prove, ok := proofs[flag.Arg(0)]
	if !ok || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, flag.Arg(0), prove, o); err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string, prove proof, o options) error {
	dir, err := os.MkdirTemp("", "wayside-http-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := &rig{dir: dir, log: io.Discard, uid: uint32(o.uid)}
	if o.verbose {
		r.log = os.Stderr
	}
	began := time.Now()
	measured, err := prove(ctx, r, o)
	if stopped := r.stop(); err == nil {
		err = stopped
	}
	row := e2e.EvidenceRow(name, o.seed, began, measured, err)
	fmt.Println(row)
	return errors.Join(err, appendRow(o.evidence, row))
}

const evidenceHead = `
## Long proofs

` + "`go run ./test/http SUBJECT`" + ` appends a row; its comments explain each subject. A "+" after a commit means that the work
tree differed from it.

| when | commit | subject | seed | took | measured | verdict |
|---|---|---|---|---|---|---|
`

func appendRow(name, row string) error {
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(text) == 0 {
		text = []byte("# Evidence: HTTP\n")
	}
	if !strings.Contains(string(text), "## Long proofs") {
		text = append(text, evidenceHead...)
	}
	return os.WriteFile(name, append(text, row+"\n"...), 0o644)
}

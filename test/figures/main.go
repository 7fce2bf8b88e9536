// Command figures proves that wayside's figures agree with its archive. It sends traffic through the real binary. To create gaps in the
// record, it kills and stops the binary. It also pauses the books process under heavy traffic until the queue is full and responses are
// dropped. Then it gets counts, errors, covered seconds, rates and dropped responses for random ranges and steps from the API (as JSON
// and as CSV), from `wayside top`, and from the dashboard in a real browser. It compares them with a recount of the archive and with its
// own record of the times when wayside was running.
//
//	go run ./test/figures [-ranges 200] [-seconds 150] [-page=false]
//
// The dashboard needs Chromium, and the tools that scripts/dashboard.sh installs.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/uploader"
)

func main() {
	ranges := flag.Int("ranges", 200, "random ranges to compare")
	seconds := flag.Int("seconds", 150, "length of the traffic, gaps included")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random numbers")
	page := flag.Bool("page", true, "also compare the dashboard's home page, in Chromium")
	flag.Parse()
	if err := run(context.Background(), *ranges, *seconds, *seed, *page); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// life is a period in which wayside was running. Its two ends are known with an error of at most tolerance.
type life struct{ from, to time.Time }

// proof is one run of the command.
type proof struct {
	w       *e2e.Wayside
	random  *rand.Rand
	sent    atomic.Uint64
	lives   []life
	events  []e2e.Line // responses in the archive
	drops   []e2e.Line // drop records in the archive, in the order of their numbers
	dropped uint64
	ranges  []life // ranges to compare on the page
	checked int

	withPage bool
}

func run(ctx context.Context, ranges, seconds int, seed uint64, page bool) error {
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, err := e2e.Build(ctx, dir)
	if err != nil {
		return err
	}
	origin, stop, err := startOrigin()
	if err != nil {
		return err
	}
	defer stop()
	listen, err := loopback.FreeAddress()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	archive := "file://" + filepath.Join(dir, "archive")
	p := &proof{random: rand.New(rand.NewPCG(seed, 1)), withPage: page, w: &e2e.Wayside{
		Binary: binary, DataDir: filepath.Join(dir, "data"), Listen: listen, Log: log,
		Args: []string{"--upstream", origin, "--archive", archive}, Env: []string{"WAYSIDE_SPOOL_BYTES_MAX=1MiB"},
	}}
	fmt.Printf("seed %d, %d seconds of traffic\n", seed, seconds)
	if err := p.traffic(ctx, time.Duration(seconds)*time.Second); err != nil {
		return err
	}
	defer func() { _ = p.w.Stop(30 * time.Second) }()
	if err := p.recount(ctx, archive); err != nil {
		return err
	}
	if err := p.compareAll(ctx, ranges); err != nil {
		return err
	}
	fmt.Printf("ok: %d figures of %d ranges agree with %d responses in the archive, over %d runs; %d responses were dropped\n",
		p.checked, ranges, len(p.events), len(p.lives), p.dropped)
	return nil
}

// startOrigin starts an origin that responds with 500 to /fail/… and with 200 to everything else.
func startOrigin() (url string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/fail") {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write([]byte("ok"))
	})}
	go func() { _ = server.Serve(ln) }()
	return "http://" + ln.Addr().String(), func() { _ = server.Close() }, nil
}

// traffic sends requests continuously, and kills and stops wayside and its books process at random times. At the end, wayside is running.
func (p *proof) traffic(ctx context.Context, length time.Duration) error {
	if err := p.start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			p.send()
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := p.drop(ctx); err != nil {
		return err
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		time.Sleep(time.Duration(3+p.random.IntN(15)) * time.Second)
		var err error
		switch p.random.IntN(3) {
		case 0:
			p.w.KillBooks()
			continue
		case 1:
			p.w.Kill()
		case 2:
			err = p.w.Stop(30 * time.Second)
		}
		p.lives[len(p.lives)-1].to = time.Now()
		time.Sleep(time.Duration(p.random.IntN(20)) * time.Second)
		if err := errors.Join(err, p.start(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// send sends one request.
func (p *proof) send() {
	path := []string{"/", "/users", "/orders/list", "/fail/always"}[p.sent.Add(1)%4]
	if resp, err := http.Get("http://" + p.w.Listen + path); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// drop pauses the books process under heavy traffic until the queue is full and responses are no longer recorded.
func (p *proof) drop(ctx context.Context) error {
	books := p.w.BooksPID()
	if err := syscall.Kill(books, syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(books, syscall.SIGCONT) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for range 4 {
		go func() {
			for ctx.Err() == nil {
				p.send()
			}
		}()
	}
	for {
		a, err := p.w.Accounting(ctx)
		if err == nil && a.DroppedTotal() > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no response was dropped: %w", errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *proof) start(ctx context.Context) error {
	began := time.Now()
	if err := p.w.Start(ctx); err != nil {
		return err
	}
	p.lives = append(p.lives, life{from: began})
	return nil
}

// recount archives everything and reads the archive.
func (p *proof) recount(ctx context.Context, archive string) error {
	settle, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := p.w.AwaitSettled(settle); err != nil {
		return err
	}
	if _, err := p.w.Ask(ctx, http.MethodPost, "/-/job/archive?all=true"); err != nil {
		return err
	}
	a, err := p.w.AwaitSettled(settle)
	if err != nil {
		return err
	}
	target, err := uploader.OpenTarget(ctx, archive, uploader.TargetOptions{})
	if err != nil {
		return err
	}
	books, err := e2e.ReadBooksEach(ctx, target, func(l e2e.Line) {
		if l.Kind == "drop" {
			p.drops = append(p.drops, l)
		} else {
			p.events = append(p.events, l)
		}
	})
	if err != nil {
		return err
	}
	slices.SortFunc(p.drops, func(a, b e2e.Line) int { return cmp.Or(strings.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq)) })
	p.dropped = books.Dropped
	if books.Lines != a.Aggregated || len(p.events) == 0 || p.dropped == 0 {
		return fmt.Errorf("the archive has %d responses, the statistics %d; %d responses were dropped", books.Lines, a.Aggregated, p.dropped)
	}
	return nil
}

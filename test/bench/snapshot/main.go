// Command snapshot measures GET /snapshot beside nginx serving the same bytes from a file, with wrk, in one run on one
// machine: at rest, without the books process, and while that drains a backlog at full speed. It prints requests a second and ratios,
// and appends them to docs/evidence/snapshot.md. It exits 1 when a ratio is below -least.
//
// The two take turns, each round in the other order, and the median of the rounds' ratios counts: at rest, while the books
// process is stopped, and during a drain, where each turn gets a backlog of its own that outlasts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

type options struct {
	rounds   int
	each     time.Duration
	backlog  uint64
	least    float64
	evidence string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "turns of each")
	flag.DurationVar(&o.each, "each", 2*time.Second, "length of a turn, but for a drain")
	flag.Uint64Var(&o.backlog, "backlog", 600_000, "events to drain during each turn; 0: do not")
	flag.Float64Var(&o.least, "least", 1, "least ratio wayside / nginx")
	flag.StringVar(&o.evidence, "evidence", "docs/evidence/snapshot.md", "file to append the result to; empty: none")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "snapshot:", err)
		os.Exit(1)
	}
}

// setup is wayside with an origin behind it, and nginx with the snapshot's bytes.
type setup struct {
	dir     string
	wayside *e2e.Wayside
	nginx   *exec.Cmd
	file    string // URL of the file
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "wayside-snapshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nginx's workers may run as another user
		return err
	}
	s := &setup{dir: dir}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer origin.Close()
	defer s.stop()
	if err := s.start(ctx, origin.URL); err != nil {
		return err
	}
	bytes, err := s.publish(ctx)
	if err != nil {
		return err
	}
	type part struct {
		when    string
		measure func() (figures, error)
	}
	parts := []part{
		{"at rest", func() (figures, error) { return s.turns(ctx, o) }},
		{"while the books process is stopped", func() (figures, error) {
			resume, err := s.stopBooks()
			if err != nil {
				return figures{}, err
			}
			defer resume()
			return s.turns(ctx, o)
		}},
	}
	if o.backlog > 0 {
		parts = append(parts, part{"during a drain", func() (figures, error) { return s.drain(ctx, o) }})
	}
	var lines []string
	var ratios []float64
	for _, p := range parts {
		f, err := p.measure()
		if err != nil {
			return err
		}
		lines = append(lines, result(p.when, f))
		ratios = append(ratios, f.ratio())
	}
	text := fmt.Sprintf("snapshot of %d bytes, wrk -t1 -c32, medians\n%s", bytes, strings.Join(lines, ""))
	fmt.Print(text)
	if err := keep(o.evidence, text); err != nil {
		return err
	}
	if least := slices.Min(ratios); least < o.least {
		return fmt.Errorf("ratio %.2f is below %.2f", least, o.least)
	}
	return nil
}

func (s *setup) start(ctx context.Context, upstream string) error {
	binary, err := e2e.Build(ctx, s.dir)
	if err != nil {
		return err
	}
	listen, err := e2e.FreeAddress()
	if err != nil {
		return err
	}
	s.wayside = &e2e.Wayside{
		Binary: binary, DataDir: filepath.Join(s.dir, "data"), Listen: listen, Args: []string{"--upstream", upstream, "--log-level", "warn"}, Log: os.Stderr,
	}
	return s.wayside.Start(ctx)
}

func (s *setup) stop() {
	if s.wayside != nil && s.wayside.Running() {
		if err := s.wayside.Stop(60 * time.Second); err != nil {
			fmt.Fprintln(os.Stderr, "snapshot:", err)
		}
	}
	if s.nginx != nil && s.nginx.Process != nil {
		_ = s.nginx.Process.Signal(syscall.SIGTERM)
		_ = s.nginx.Wait()
	}
}

// publish fills a snapshot with more rows than it lists, gives its bytes to nginx, and starts nginx.
func (s *setup) publish(ctx context.Context) (int, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	for i := range 1200 {
		resp, err := client.Get("http://" + s.wayside.Listen + "/catalogue/part" + string(rune('a'+i%26)) + "/section" + string(rune('a'+i/26%5)))
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if _, err := s.wayside.Settle(ctx); err != nil {
		return 0, err
	}
	time.Sleep(2 * time.Second) // a snapshot is made at most a second after the last batch
	body, err := s.wayside.Ask(ctx, http.MethodGet, "/snapshot")
	if err != nil {
		return 0, err
	}
	root := filepath.Join(s.dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // nginx's workers may run as another user
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(root, "snapshot"), body, 0o644); err != nil { //nolint:gosec // as above
		return 0, err
	}
	return len(body), s.serveFile(ctx)
}

const nginxConfig = `daemon off; worker_processes auto; pid %[1]s/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen %[2]s reuseport; root %[1]s/root; }
}
`

func (s *setup) serveFile(ctx context.Context) error {
	address, err := e2e.FreeAddress()
	if err != nil {
		return err
	}
	config := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, s.dir, address), 0o600); err != nil {
		return err
	}
	s.nginx = exec.Command("nginx", "-p", s.dir, "-e", "stderr", "-c", config)
	s.nginx.Stderr = os.Stderr
	if err := s.nginx.Start(); err != nil {
		return fmt.Errorf("start nginx: %w", err)
	}
	s.file = "http://" + address + "/snapshot"
	for range 100 {
		if resp, err := http.Get(s.file); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("nginx answers %s", resp.Status)
			}
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(ctx.Err(), errors.New("nginx does not answer"))
}

// figures are requests a second, turn by turn.
type figures struct{ wayside, nginx []float64 }

// ratio is the median of the rounds' ratios: what disturbs a round disturbs both.
func (f figures) ratio() float64 {
	var ratios []float64
	for i := range f.nginx {
		ratios = append(ratios, f.wayside[i]/f.nginx[i])
	}
	return median(ratios)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func result(when string, f figures) string {
	return fmt.Sprintf("%s: wayside %.0f/s, nginx %.0f/s, ratio %.2f (%d turns each)\n", when, median(f.wayside), median(f.nginx), f.ratio(), len(f.nginx))
}

// target is one of the two and where its rates go.
type target struct {
	url  string
	into *[]float64
}

// pair is the two in the order of a round.
func (s *setup) pair(f *figures, round int) []target {
	pair := []target{{s.wayside.Info().Admin + "/snapshot", &f.wayside}, {s.file, &f.nginx}}
	if round%2 == 1 {
		slices.Reverse(pair)
	}
	return pair
}

// turns measures the two in turn, each round in the other order.
func (s *setup) turns(ctx context.Context, o options) (f figures, err error) {
	for round := range o.rounds {
		for _, p := range s.pair(&f, round) {
			rate, err := wrk(ctx, p.url, o.each)
			if err != nil {
				return f, err
			}
			*p.into = append(*p.into, rate)
		}
	}
	return f, nil
}

// drain measures the two in turn while a backlog is worked off. Each turn has a backlog of its own, made for it, that must
// last longer than the turn.
func (s *setup) drain(ctx context.Context, o options) (f figures, err error) {
	for round := range o.rounds {
		for _, p := range s.pair(&f, round) {
			if err := s.makeBacklog(ctx, o.backlog); err != nil {
				return f, err
			}
			rate, err := wrk(ctx, p.url, time.Second)
			if err != nil {
				return f, err
			}
			metrics, err := s.wayside.Ask(ctx, http.MethodGet, "/metrics")
			if err != nil {
				return f, err
			}
			if pending(metrics) == 0 {
				return f, fmt.Errorf("%d events were drained before the turn ended: raise -backlog", o.backlog)
			}
			*p.into = append(*p.into, rate)
		}
	}
	return f, nil
}

// makeBacklog stops the books process until so many events wait, and lets it go on.
func (s *setup) makeBacklog(ctx context.Context, events uint64) error {
	resume, err := s.stopBooks()
	if err != nil {
		return err
	}
	defer resume()
	for waiting := uint64(0); waiting < events; {
		if _, err := wrk(ctx, "http://"+s.wayside.Listen+"/catalogue/parta", 2*time.Second); err != nil {
			return err
		}
		metrics, err := s.wayside.Ask(ctx, http.MethodGet, "/metrics")
		if err != nil {
			return err
		}
		before := waiting
		if waiting = pending(metrics); waiting <= before {
			return fmt.Errorf("the backlog does not grow beyond %d events", waiting)
		}
	}
	return nil
}

// stopBooks stops the books process as if it hung; resume lets it go on.
func (s *setup) stopBooks() (resume func(), err error) {
	books := s.wayside.BooksPID()
	if err := syscall.Kill(books, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stop the books process: %w", err)
	}
	return func() { _ = syscall.Kill(books, syscall.SIGCONT) }, nil
}

var pendingLine = regexp.MustCompile(`(?m)^wayside_spool_pending_events (\S+)$`)

func pending(metrics []byte) uint64 {
	match := pendingLine.FindSubmatch(metrics)
	if match == nil {
		return 0
	}
	n, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		return 0
	}
	return uint64(n)
}

var wrkRate = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)

func wrk(ctx context.Context, url string, d time.Duration) (float64, error) {
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c32", "-d"+strconv.FormatFloat(d.Seconds(), 'f', 0, 64)+"s", url).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if strings.Contains(string(out), "Non-2xx") {
		return 0, fmt.Errorf("wrk got other answers than 200: %s", out)
	}
	match := wrkRate.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("wrk says no rate: %s", out)
	}
	return strconv.ParseFloat(string(match[1]), 64)
}

// keep appends the result with its date and commit.
func keep(file, text string) error {
	if file == "" {
		return nil
	}
	commit, _ := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // documentation
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "\n## %s, commit %s\n\n```\n%s```\n", time.Now().UTC().Format("2006-01-02 15:04"), strings.TrimSpace(string(commit)), text)
	return errors.Join(err, f.Close())
}

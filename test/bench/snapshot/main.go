// Command snapshot measures GET /snapshot beside nginx serving the same bytes from a file, as it is and with open_file_cache, with
// wrk, in one run on one machine: at rest, without the books process, and while that drains a backlog at full speed. It prints
// requests a second, processor time a request, and ratios, and appends them to docs/evidence/snapshot.md. It exits 1 if wayside's
// rate at rest or during a drain is below -least of that of nginx as it is, or its processor time at rest above -most.
//
// The three take turns, each round in another order, and the median of the rounds' ratios counts. During a drain each turn gets a
// backlog of its own that outlasts it. wayside's processor time is that of the traffic process, which answers; during a drain it
// also hands the backlog over.
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
	most     float64
	evidence string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "turns of each")
	flag.DurationVar(&o.each, "each", 2*time.Second, "length of a turn, but for a drain")
	flag.Uint64Var(&o.backlog, "backlog", 600_000, "events to drain during each turn; 0: do not")
	flag.Float64Var(&o.least, "least", 0.9, "least ratio of requests a second, wayside / nginx")
	flag.Float64Var(&o.most, "most", 1.1, "largest ratio of processor time a request, wayside / nginx")
	flag.StringVar(&o.evidence, "evidence", "docs/evidence/snapshot.md", "file to append the result to; empty: none")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "snapshot:", err)
		os.Exit(1)
	}
}

const stopped = "while the books process is stopped"

// setup is wayside with an origin behind it, and two nginx with the snapshot's bytes.
type setup struct {
	dir     string
	wayside *e2e.Wayside
	nginx   []*exec.Cmd
	urls    []string // of the snapshot, by contestant
}

// The contestants.
const (
	ofWayside = iota
	ofNginx
	ofCached
	contestants
)

var contestantNames = [contestants]string{"wayside", "nginx", "nginx with open_file_cache"}

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
		{stopped, func() (figures, error) {
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
	var errs []error
	for i, p := range parts {
		f, err := p.measure()
		if err != nil {
			return err
		}
		lines = append(lines, f.result(p.when))
		if rate := f.ratio(ofNginx, turn.perSecond); rate < o.least && p.when != stopped {
			errs = append(errs, fmt.Errorf("%s: %.2f of nginx's requests a second, at least %.2f are wanted", p.when, rate, o.least))
		}
		if cpu := f.ratio(ofNginx, turn.perRequest); cpu > o.most && i == 0 {
			errs = append(errs, fmt.Errorf("%s: %.2f of nginx's processor time, at most %.2f is wanted", p.when, cpu, o.most))
		}
	}
	text := fmt.Sprintf("snapshot of %d bytes, wrk -t1 -c32, medians of %d turns each; ratios: wayside / the other\n%s", bytes, o.rounds, strings.Join(lines, ""))
	fmt.Print(text)
	return errors.Join(append(errs, keep(o.evidence, text))...)
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
	for _, nginx := range s.nginx {
		_ = nginx.Process.Signal(syscall.SIGTERM)
		_ = nginx.Wait()
	}
}

// publish fills a snapshot with more rows than it lists, gives its bytes to nginx, and starts nginx twice.
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
	s.urls = []string{s.wayside.Info().Admin + "/snapshot"}
	return len(body), errors.Join(s.serveFile(ctx, ""), s.serveFile(ctx, "open_file_cache max=100 inactive=1m; open_file_cache_valid 1m;"))
}

const nginxConfig = `daemon off; worker_processes auto; pid %[1]s/nginx%[3]d.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen %[2]s reuseport; root %[1]s/root; %[4]s }
}
`

func (s *setup) serveFile(ctx context.Context, cache string) error {
	address, err := e2e.FreeAddress()
	if err != nil {
		return err
	}
	n := len(s.nginx)
	config := filepath.Join(s.dir, fmt.Sprintf("nginx%d.conf", n))
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, s.dir, address, n, cache), 0o600); err != nil {
		return err
	}
	nginx := exec.Command("nginx", "-p", s.dir, "-e", "stderr", "-c", config)
	nginx.Stderr = os.Stderr
	if err := nginx.Start(); err != nil {
		return fmt.Errorf("start nginx: %w", err)
	}
	s.nginx = append(s.nginx, nginx)
	url := "http://" + address + "/snapshot"
	s.urls = append(s.urls, url)
	for range 100 {
		if resp, err := http.Get(url); err == nil {
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

// turns measures the three in turn, each round beginning with another.
func (s *setup) turns(ctx context.Context, o options) (f figures, err error) {
	for round := range o.rounds {
		for i := range contestants {
			of := (round + i) % contestants
			t, err := s.measure(ctx, of, o.each)
			if err != nil {
				return f, err
			}
			f[of] = append(f[of], t)
		}
	}
	return f, nil
}

// drain measures the three in turn while a backlog is worked off. Each turn has a backlog of its own, made for it, that must
// last longer than the turn.
func (s *setup) drain(ctx context.Context, o options) (f figures, err error) {
	for round := range o.rounds {
		for i := range contestants {
			of := (round + i) % contestants
			if err := s.makeBacklog(ctx, o.backlog); err != nil {
				return f, err
			}
			t, err := s.measure(ctx, of, time.Second)
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
			f[of] = append(f[of], t)
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
		if _, _, err := wrk(ctx, "http://"+s.wayside.Listen+"/catalogue/parta", 2*time.Second); err != nil {
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

// Command snapshot compares GET /snapshot with nginx serving the same bytes from a file, once with nginx's default settings and once with
// open_file_cache. It uses wrk in one run on one machine and compares three states: at rest, while the books process is stopped, and
// while the books process is draining a backlog at full speed. It appends requests per second, CPU time per request and ratios to
// docs/evidence/snapshot.md.
//
// It exits with 1 if wayside's rate at rest or during a drain is below -least of nginx's default rate, or if its CPU time at
// rest is above -most.
//
// The three contestants take turns, and every round begins with a different one. The result is the median of the ratios of all rounds.
// During a drain, each turn gets its own backlog, which must last longer than the turn. The CPU time of wayside is that of the traffic
// process, which serves the snapshot. During a drain, this process also sends the backlog to the books process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/bench/rig"
	"github.com/wayside-proxy/wayside/test/e2e"
)

type options struct {
	rig.Options
	backlog uint64
	least   float64
	most    float64
}

func main() {
	var o options
	o.Flags(2*time.Second, "", "docs/evidence/snapshot.md")
	flag.Uint64Var(&o.backlog, "backlog", 600_000, "events to drain during each turn; 0: no drain is measured")
	flag.Float64Var(&o.least, "least", 0.9, "smallest ratio of requests per second, wayside to nginx")
	flag.Float64Var(&o.most, "most", 1.1, "largest ratio of CPU time per request, wayside to nginx")
	rig.Main("snapshot", func(ctx context.Context) error { return run(ctx, o) })
}

// The contestants.
const (
	ofWayside = iota
	ofNginx
	ofCached
	contestants
)

var contestantNames = [contestants]string{"wayside", "nginx", "nginx with open_file_cache"}

// setup is wayside in front of an origin, and two nginx servers that serve the bytes of the snapshot.
type setup struct {
	wayside *e2e.Wayside
	nginx   []*e2e.Nginx
}

func (s *setup) stop() {
	for _, nginx := range s.nginx {
		nginx.Stop()
	}
}

// url returns the URL of the snapshot.
func (s *setup) url(of int) string {
	if of == ofWayside {
		return s.wayside.Info().Admin + "/snapshot"
	}
	return "http://" + s.nginx[of-ofNginx].Address + "/snapshot"
}

// state is a state in which the contestants are compared.
type state struct {
	name    string
	measure func(context.Context, options) (figures, error)
	rate    bool // whether to compare requests per second with -least
	cpu     bool // whether to compare CPU time per request with -most
}

func run(ctx context.Context, o options) (err error) {
	r, err := rig.New(ctx, o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s := &setup{}
	defer s.stop()
	if s.wayside, err = r.Start(ctx, "data", nil); err != nil {
		return err
	}
	size, err := s.serveSnapshot(ctx, r.Dir)
	if err != nil {
		return err
	}
	states := []state{
		{name: "at rest", measure: s.atRest, rate: true, cpu: true},
		{name: "while the books process is stopped", measure: s.stopped},
		{name: "during a drain", measure: s.drain, rate: true},
	}
	if o.backlog == 0 {
		states = states[:2]
	}
	text := fmt.Sprintf("snapshot of %d bytes, wrk -t1 -c32, medians of %d turns each; ratios of wayside to the other\n", size, o.Rounds)
	var errs []error
	for _, state := range states {
		f, err := state.measure(ctx, o)
		if err != nil {
			return err
		}
		text += f.table(state.name)
		if rate := f.ratio(ofNginx, turn.perSecond); state.rate && rate < o.least {
			errs = append(errs, fmt.Errorf("%s: %.2f times nginx's requests per second; the limit is %.2f", state.name, rate, o.least))
		}
		if cpu := f.ratio(ofNginx, turn.perRequest); state.cpu && cpu > o.most {
			errs = append(errs, fmt.Errorf("%s: %.2f times nginx's CPU time; the limit is %.2f", state.name, cpu, o.most))
		}
	}
	fmt.Print(text)
	section := fmt.Sprintf("\n## %s, commit %s\n\n```\n%s```", time.Now().UTC().Format("2006-01-02 15:04"), r.Commit, text)
	return errors.Join(append(errs, e2e.AppendEvidence(o.Evidence, "# Evidence: GET /snapshot compared with nginx\n", section))...)
}

const nginxServer = `  sendfile on;
  tcp_nopush on;
  default_type application/json;
  server {
    listen %s reuseport;
    root ROOT;
    CACHE
  }
`

// serveSnapshot sends requests for more rows than a snapshot can have, writes the snapshot to a file, starts two nginx servers, without
// and with a cache of open files, and returns the size of the snapshot.
func (s *setup) serveSnapshot(ctx context.Context, dir string) (int, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	for i := range 1200 {
		resp, err := client.Get("http://" + s.wayside.Listen + "/catalogue/part" + string(rune('a'+i%26)) + "/section" + string(rune('a'+i/26%5)))
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if _, err := s.wayside.AwaitSettled(ctx); err != nil {
		return 0, err
	}
	time.Sleep(2 * time.Second) // a snapshot is made at most a second after the last batch
	snapshot, err := s.wayside.Ask(ctx, http.MethodGet, "/snapshot")
	if err != nil {
		return 0, err
	}
	root := filepath.Join(dir, "root")
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(root, 0o755))
	err = errors.Join(err, os.WriteFile(filepath.Join(root, "snapshot"), snapshot, 0o644))
	if err != nil {
		return 0, err
	}
	for i, cache := range []string{"", "open_file_cache max=100 inactive=1m; open_file_cache_valid 1m;"} {
		own := filepath.Join(dir, fmt.Sprintf("nginx%d", i))
		if err := os.Mkdir(own, 0o755); err != nil {
			return 0, err
		}
		nginx, err := e2e.StartNginxWith(ctx, own, "auto", strings.NewReplacer("ROOT", root, "CACHE", cache).Replace(nginxServer))
		if err != nil {
			return 0, err
		}
		s.nginx = append(s.nginx, nginx)
	}
	return len(snapshot), nil
}

func (s *setup) atRest(ctx context.Context, o options) (figures, error) {
	return s.turns(ctx, o.Rounds, o.Each, nil, nil)
}

func (s *setup) stopped(ctx context.Context, o options) (figures, error) {
	resume, err := s.stopBooks()
	if err != nil {
		return figures{}, err
	}
	defer resume()
	return s.turns(ctx, o.Rounds, o.Each, nil, nil)
}

// drain compares the contestants while the books process is draining a backlog.
func (s *setup) drain(ctx context.Context, o options) (figures, error) {
	return s.turns(ctx, o.Rounds, time.Second, func() error { return s.makeBacklog(ctx, o.backlog) }, func() error {
		left, err := rig.PendingEvents(ctx, s.wayside)
		if err == nil && left == 0 {
			err = fmt.Errorf("%d events were drained before the turn ended: raise -backlog", o.backlog)
		}
		return err
	})
}

// makeBacklog stops the books process until at least this number of events are waiting in the spool.
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
		before := waiting
		if waiting, err = rig.PendingEvents(ctx, s.wayside); err != nil {
			return err
		}
		if waiting <= before {
			return fmt.Errorf("the backlog does not grow beyond %d events", waiting)
		}
	}
	return nil
}

// stopBooks stops the books process with SIGSTOP, as if it were hanging. resume continues it.
func (s *setup) stopBooks() (resume func(), err error) {
	books := s.wayside.BooksPID()
	if err := syscall.Kill(books, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stop the books process: %w", err)
	}
	return func() { _ = syscall.Kill(books, syscall.SIGCONT) }, nil
}

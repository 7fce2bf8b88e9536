// Command incident simulates an incident behind a real wayside: a shop gets forty requests per second, one in a hundred of them is POST
// /checkout, and the requests to that path begin to fail. The command proves that, within a minute, wayside reports which path is
// failing, how often, and since when.
//
//	go run ./test/incident [-history 3h] [-share 0.57] [-shots DIR]
//	go run ./test/incident -week [-rate 1] [-shots DIR]
//
// With -week, the traffic of seven days is sent, with more requests by day than by night. The incident happens on the sixth day, begins
// with a deploy and ends with a rollback; no path is failing when the pictures are taken. The README shows these pictures.
//
// The traffic of the hours before the incident is sent in a few minutes, while the clock of wayside is moved from the past to the
// present; the incident itself runs in real time. With -shots, screenshots are taken a minute after the beginning of the incident:
// Chromium takes those of the dashboard, on a desktop (light and dark) and on a phone. Another shows `wayside top`, which runs in tmux.
// The tools for that are installed by `make dashboard`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

type options struct {
	history time.Duration
	rate    int
	share   float64
	steady  time.Duration
	shots   string
	keep    bool
	week    bool
}

func main() {
	var o options
	flag.DurationVar(&o.history, "history", 3*time.Hour, "time before the incident")
	flag.IntVar(&o.rate, "rate", 40, "requests a second")
	flag.Float64Var(&o.share, "share", 0.57, "share of the requests to /checkout that fail")
	flag.DurationVar(&o.steady, "steady", 30*time.Second, "real time before the incident")
	flag.StringVar(&o.shots, "shots", "", "folder for pictures")
	flag.BoolVar(&o.keep, "keep", false, "go on with the incident until interrupted")
	flag.BoolVar(&o.week, "week", false, "seven days of traffic, with an incident on the sixth")
	flag.Parse()
	if o.week {
		o.asWeek()
	}
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "incident:", err)
		os.Exit(1)
	}
}

// noticeMax is the maximum time until the incident is reported.
const noticeMax = time.Minute

// replay is one run of the command.
type replay struct {
	options
	w      *e2e.Wayside
	shop   *shop
	dir    string
	clock  string // file with the offset of wayside's clock
	client *client
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "incident")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, err := e2e.Build(ctx, dir, "-tags", "faults")
	if err != nil {
		return err
	}
	shop, err := openShop()
	if err != nil {
		return err
	}
	defer shop.close()
	listen, err := loopback.FreeAddress()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	r := &replay{options: o, shop: shop, dir: dir, clock: filepath.Join(dir, "clock"), client: newClient("http://" + listen)}
	r.w = &e2e.Wayside{
		Binary: binary, DataDir: filepath.Join(dir, "data"), Listen: listen, Log: log, Args: []string{"--upstream", shop.url},
		Env: []string{"WAYSIDE_FAULT_CLOCK=" + r.clock},
	}
	if err := r.setClock(-o.history); err != nil {
		return err
	}
	if err := r.w.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = r.w.Stop(30 * time.Second) }()
	if o.week {
		return r.playWeek(ctx)
	}
	return r.play(ctx)
}

func (r *replay) setClock(offset time.Duration) error {
	temporary := r.clock + ".new"
	if err := os.WriteFile(temporary, []byte(offset.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, r.clock)
}

// The steps in which the traffic of the past is sent. For the period that the dashboard shows in steps of ten seconds, they are short.
const (
	longStep  = time.Minute
	shortStep = 10 * time.Second
	shortFor  = 31 * time.Minute
)

func (r *replay) play(ctx context.Context) error {
	fmt.Printf("%s of traffic before the incident, %d requests a second\n", r.history, r.rate)
	start := time.Now()
	for begin := start.Add(-r.history); begin.Before(time.Now()); {
		step := longStep
		if time.Since(begin) < shortFor {
			step = shortStep
		}
		if err := r.setClock(time.Until(begin)); err != nil {
			return err
		}
		if err := r.client.send(ctx, r.rate*int(step/time.Second)); err != nil {
			return err
		}
		begin = begin.Add(step)
	}
	if err := r.setClock(0); err != nil {
		return err
	}
	live, stop := context.WithCancel(ctx)
	defer stop()
	go r.client.steadily(live, r.rate)
	fmt.Printf("that took %s; now in real time\n", time.Since(start).Round(time.Second))
	time.Sleep(r.steady)
	if err := r.expectNothing(ctx); err != nil {
		return err
	}
	if out, err := r.wayside(ctx, "mark", "deploy 2.4.1"); err != nil {
		return fmt.Errorf("wayside mark: %w: %s", err, out)
	}
	began := time.Now()
	r.shop.fail(r.share)
	fmt.Printf("%s: %.0f %% of POST /checkout fail, which is 1 %% of the traffic\n", began.Format(time.TimeOnly), 100*r.share)
	found, err := r.awaitReport(ctx, began)
	if err != nil {
		return err
	}
	fmt.Printf("after %s wayside says: %s %s fails, %.0f %% (usually %.2f %%), since %s, %d requests failed\n", time.Since(began).Round(time.Second),
		found.Method, found.Path, 100*found.Share, 100*found.UsualShare, found.Since.Local().Format("15:04"), found.Affected)
	time.Sleep(time.Until(began.Add(noticeMax)))
	return r.show(ctx)
}

// incident is an entry of GET /api/v1/failing.
type incident struct {
	Kind, Method, Path string
	Since              time.Time
	Share              float64
	UsualShare         float64 `json:"usual_share"`
	Affected           uint64
}

func (r *replay) failing(ctx context.Context) ([]incident, error) {
	body, err := r.w.Ask(ctx, "GET", "/api/v1/failing")
	if err != nil {
		return nil, err
	}
	var answer struct{ Incidents []incident }
	err = json.Unmarshal(body, &answer)
	return answer.Incidents, err
}

func (r *replay) expectNothing(ctx context.Context) error {
	found, err := r.failing(ctx)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("a false alarm before the incident: %+v", found)
	}
	return err
}

// awaitReport waits until the incident is reported, and checks the report.
func (r *replay) awaitReport(ctx context.Context, began time.Time) (incident, error) {
	for time.Since(began) < noticeMax {
		found, err := r.failing(ctx)
		if err != nil {
			return incident{}, err
		}
		if len(found) == 0 {
			time.Sleep(time.Second)
			continue
		}
		i := found[0]
		late := i.Since.Sub(began.Truncate(time.Minute))
		if len(found) != 1 || i.Kind != "errors" || i.Method != "POST" || i.Path != "/checkout" || late < -time.Minute || late > time.Minute {
			return i, fmt.Errorf("the incident is POST /checkout since %s, but wayside says %+v", began.Format(time.TimeOnly), found)
		}
		return i, nil
	}
	return incident{}, errors.New("nothing was reported for a minute")
}

func (r *replay) wayside(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, r.w.Binary, append(args, "--data", r.w.DataDir)...).CombinedOutput()
	return string(out), err
}

// show prints the output of `wayside top`, and takes the screenshots.
func (r *replay) show(ctx context.Context) error {
	top, err := r.wayside(ctx, "top", "--window", "1h")
	if err != nil {
		return fmt.Errorf("wayside top: %w: %s", err, top)
	}
	fmt.Println(top)
	if first, _, _ := strings.Cut(top, "\n"); !strings.Contains(first, "POST /checkout") {
		return fmt.Errorf("the first line of wayside top does not name the path: %s", first)
	}
	if r.shots != "" {
		screen, err := r.topScreen(ctx, "1h")
		if err != nil {
			return err
		}
		if err := r.pictures(ctx, "incident.mjs", screen); err != nil {
			return err
		}
	}
	r.stay()
	return nil
}

// stay keeps everything running until the command is interrupted, if that was requested.
func (r *replay) stay() {
	if r.keep {
		fmt.Println("the dashboard:", r.w.Info().Admin)
		select {}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

const (
	ratioMax  = 2.0 // maximum ratio of the p99 under attack to the p99 without an attack
	idleMax   = 1.0 // maximum percentage of a core when idle
	idleTries = 3   // number of periods, in one of which both processes must be idle
)

// result holds the measurements of a run.
type result struct {
	baseline, under *phase
	health          answers // responses to /livez
	reads           answers // responses to an honest client's requests for /metrics on the probes listener and for /api/v1/paths
	tally           tally
	held            int64
	sizes           sizes
	cpu             [3]float64 // percent of a core: traffic process, books process, attacker
	idle            [2]float64
	length          time.Duration
}

// one performs one run and checks its result.
func (o options) one(ctx context.Context, dir string, run run) (*result, error) {
	res := &result{baseline: &phase{}, under: &phase{}}
	s3 := false
	for _, a := range run.attacks {
		s3 = s3 || a.s3
	}
	r, err := newRig(ctx, o, dir, s3)
	if err != nil {
		return res, err
	}
	defer r.close()
	c := &client{addr: r.wayside.Listen}
	if _, err := c.run(ctx, 2*time.Second); err != nil { // warm up
		return res, err
	}
	stopHealth, stopReads := r.watch(ctx)
	res.baseline, err = c.run(ctx, seconds(o.baseline))
	stopHealth()
	stopReads()
	if err != nil {
		return res, err
	}
	errs := []error{r.attack(ctx, o, run, c, res)}
	errs = append(errs, res.judge(o, run))
	errs = append(errs, r.alive())
	if r.wayside.Running() {
		errs = append(errs, r.balance(ctx, c), r.idle(ctx, o, res), r.alive(), r.verify(ctx, o))
	}
	return res, errors.Join(append(errs, ctx.Err())...)
}

// attack measures while the attacking process is running.
func (r *rig) attack(ctx context.Context, o options, run run, c *client, res *result) error {
	pids := []int{r.wayside.PID(), r.books}
	stopHealth, stopReads := r.watch(ctx)
	stopSizes := watchSizes(r)
	before := []time.Duration{processorTime(pids[0]), processorTime(pids[1])}
	began := time.Now()
	a, err := startAssault(r.target(o, run))
	if err != nil {
		return err
	}
	under, err := c.run(ctx, seconds(o.seconds))
	res.under, res.length = under, time.Since(began)
	for i, pid := range pids {
		res.cpu[i] = percent(processorTime(pid)-before[i], res.length)
	}
	res.health, res.reads, res.sizes = stopHealth(), stopReads(), stopSizes()
	var cpu time.Duration
	var stopped error
	res.tally, res.held, cpu, stopped = a.stop()
	res.cpu[2] = percent(cpu, res.length)
	return errors.Join(err, stopped)
}

// watch repeatedly sends the requests that must get a response during any attack, and the requests of other honest clients.
func (r *rig) watch(ctx context.Context) (stopHealth, stopReads func() answers) {
	return watch(ctx, livez("probes", r.probes), livez("admin", r.admin())), watch(ctx,
		question{"metrics", r.probes, "/metrics", fromScraper, readsEvery, readsWithin},
		question{"api", r.admin(), "/api/v1/paths?limit=10", fromScraper, readsEvery, readsWithin})
}

func percent(cpu, of time.Duration) float64 { return 100 * cpu.Seconds() / max(of.Seconds(), 1e-3) }

// judge compares the measurements with the requirements.
func (res *result) judge(o options, run run) error {
	var errs []error
	if res.baseline.failed > 0 {
		errs = append(errs, fmt.Errorf("%d requests failed before the attack: %q", res.baseline.failed, firstOf(res.baseline.errors)))
	}
	if res.under.failed > 0 {
		errs = append(errs, fmt.Errorf("%d requests failed: %q", res.under.failed, firstOf(res.under.errors)))
	}
	if want := uint64((keptRate + newRate) * o.seconds); res.under.sent < want*99/100 {
		errs = append(errs, fmt.Errorf("only %d of %d requests could be sent", res.under.sent, want))
	}
	if res.ratio() > ratioMax && !o.short {
		errs = append(errs, fmt.Errorf("p99 is %.1f times the baseline", res.ratio()))
	}
	if res.health.late > 0 || res.health.asked == 0 {
		errs = append(errs, fmt.Errorf("/livez: %d of %d requests had no response within a second: %q", res.health.late, res.health.asked, res.health.errors))
	}
	// While the books process is stopped, requests that need it are rejected. In all other attacks, no honest client may be locked out.
	if run.attacks[0].group != "stopped" && res.reads.late*2 > res.reads.asked {
		errs = append(errs, fmt.Errorf("honest clients are locked out: /metrics and /api/v1/paths: %d of %d requests had no response within %v: %q",
			res.reads.late, res.reads.asked, readsWithin, res.reads.errors))
	}
	if most := res.sizes.unreclaimable; most > o.memory<<20 || most <= 0 {
		errs = append(errs, fmt.Errorf("with the buffers of its sockets, wayside took %d MiB that the kernel cannot take back: a cgroup of version 2 would kill it", most>>20))
	}
	if res.tally.Opened == 0 {
		errs = append(errs, errors.New("the attack opened no connection"))
	}
	if n := res.tally.Unended; n > 0 {
		errs = append(errs, fmt.Errorf("%d hostile HTTP/2 connections were still open after %v", n, http2Ends))
	}
	return errors.Join(errs...)
}

func firstOf(list []string) []string { return list[:min(len(list), 2)] }

func (res *result) ratio() float64 {
	base := res.baseline.latency.Quantile(0.99)
	if base == 0 {
		return 0
	}
	return float64(res.under.latency.Quantile(0.99)) / float64(base)
}

// perSecond returns the number of connections that the attacks opened per second.
func (res *result) perSecond() float64 {
	return float64(res.tally.Opened) / max(res.length.Seconds(), 1e-3)
}

// alive returns an error if a process has died or has been replaced.
func (r *rig) alive() error {
	var errs []error
	if !r.wayside.Running() {
		errs = append(errs, errors.New("the traffic process has died"))
	} else if now := r.wayside.BooksPID(); now != r.books {
		errs = append(errs, fmt.Errorf("the books process has died (was %d, is %d)", r.books, now))
	}
	if n := r.group.OOMKills(); n > 0 {
		errs = append(errs, fmt.Errorf("the kernel killed %d processes because of their memory", n))
	}
	return errors.Join(errs...)
}

// balance waits until nothing is in flight, checks the figures, archives everything, and looks for each request of the healthy
// client in the archive.
func (r *rig) balance(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, err := r.wayside.AwaitSettled(ctx); err != nil {
		return err
	}
	if _, err := r.wayside.Ask(ctx, http.MethodPost, "/-/job/archive?all=true"); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	figures, err := r.wayside.AwaitSettled(ctx)
	if err != nil {
		return err
	}
	books, err := e2e.ReadBooks(ctx, r.archive)
	if err != nil {
		return err
	}
	var errs []error
	if n, first := c.received.Missing(&books.Nonces, 3); n > 0 {
		errs = append(errs, fmt.Errorf("%d responses that the client received are not in the archive, such as %v (%d count as dropped)", n, first, figures.DroppedTotal()))
	}
	if n, first := books.Nonces.Missing(&c.sent, 3); n > 0 {
		errs = append(errs, fmt.Errorf("%d requests in the archive were never sent, such as %v", n, first))
	}
	if books.Doubled > 0 {
		errs = append(errs, fmt.Errorf("%d requests are in the archive twice", books.Doubled))
	}
	if figures.Archived != books.Lines {
		errs = append(errs, fmt.Errorf("%d events count as archived, but the archive has %d", figures.Archived, books.Lines))
	}
	return errors.Join(errs...)
}

// idle waits until both processes use almost no CPU time.
func (r *rig) idle(ctx context.Context, o options, res *result) error {
	for range idleTries {
		pids := []int{r.wayside.PID(), r.books}
		before := []time.Duration{processorTime(pids[0]), processorTime(pids[1])}
		began := time.Now()
		sleep(ctx, seconds(o.idle))
		for i, pid := range pids {
			res.idle[i] = percent(processorTime(pid)-before[i], time.Since(began))
		}
		if res.idle[0]+res.idle[1] <= idleMax {
			return nil
		}
	}
	return fmt.Errorf("the idle processes use %.1f %% and %.1f %% of a core", res.idle[0], res.idle[1])
}

// verify makes wayside verify its data directory, both while running and while stopped, and rebuilds the statistics
// from the archive alone.
func (r *rig) verify(ctx context.Context, o options) error {
	var errs []error
	try := func(when string, args ...string) {
		if err := command(ctx, o.binary, r.wayside.Env, args...); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", when, err))
		}
	}
	try("running", "verify", "--data", r.wayside.DataDir)
	if err := r.wayside.Stop(40 * time.Second); err != nil {
		errs = append(errs, fmt.Errorf("stop: %w", err))
	}
	try("stopped", "verify", "--data", r.wayside.DataDir)
	try("from the archive", "archive", "verify", "--archive", r.archiveURL)
	try("from the archive", "archive", "rebuild", "--archive", r.archiveURL, "--into", r.wayside.DataDir+"-rebuilt")
	return errors.Join(errs...)
}

func command(ctx context.Context, binary string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("wayside %s: %w: %s", strings.Join(args, " "), err, lastOf(out))
	}
	return nil
}

func lastOf(out []byte) string {
	text := strings.TrimSpace(string(out))
	return text[max(0, len(text)-400):]
}

// row formats the run as a row of the table.
func (res *result) row(run run, o options, failure error) string {
	ms := func(q float64) string {
		return fmt.Sprintf("%.2f → %.2f", 1e3*res.baseline.latency.Quantile(q).Seconds(), 1e3*res.under.latency.Quantile(q).Seconds())
	}
	verdict := "holds"
	if failure != nil {
		text, _ := json.Marshal(failure.Error()) // one line
		verdict = "FAILS: " + strings.ReplaceAll(strings.Trim(strings.ReplaceAll(string(text), `\n`, "; "), `"`), "|", "\\|")
	}
	name := run.name
	if len(run.attacks) > 1 {
		name += ": " + strings.Join(run.names(), ", ")
	}
	const mib = 1 << 20
	return fmt.Sprintf("| %s | %s | %s | %d | %d, %d (%.0f) | %d, %d | %s | %s (%.1f) | %v | %d of %d | %d, %d, %d, %d, %d | %d, %d | %.0f, %.0f, %.0f | %.1f, %.1f | %s |",
		time.Now().UTC().Format("2006-01-02 15:04"), e2e.Commit(), name, o.seconds, res.held, res.tally.Opened, res.perSecond(), res.under.sent, res.under.failed,
		ms(0.5), ms(0.99), res.ratio(), res.health.slowest.Round(time.Millisecond), res.reads.asked-res.reads.late, res.reads.asked,
		res.sizes.memory[0]/mib, res.sizes.memory[1]/mib, res.sizes.memory[2]/mib, res.sizes.memory[3]/mib, res.sizes.unreclaimable/mib,
		res.sizes.descriptors[0], res.sizes.descriptors[1], res.cpu[0], res.cpu[1], res.cpu[2], res.idle[0], res.idle[1], verdict)
}

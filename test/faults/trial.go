package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/testlog"
	"github.com/wayside-proxy/wayside/uploader"
)

const (
	settledTimeout = 60 * time.Second // maximum time until the books have settled
	connections    = 16               // number of client connections
)

// busyEnv makes wayside archive applied events within a second, and delete archived events immediately.
var busyEnv = []string{
	"WAYSIDE_ARCHIVE_SCHEDULE=@every 1s", "WAYSIDE_ARCHIVE_AFTER=0s",
	"WAYSIDE_RETENTION_SCHEDULE=@every 1s", "WAYSIDE_RETENTION_EVENTS=0s", "WAYSIDE_DATA_FREE_MIN=0",
	"WAYSIDE_COLLECTOR_DRAIN_INTERVAL=100ms", "WAYSIDE_ARCHIVE_EXPIRE=0",
}

// quietEnv makes wayside archive only when the trial requests it.
var quietEnv = []string{
	"WAYSIDE_ARCHIVE_SCHEDULE=@every 10h", "WAYSIDE_RETENTION_SCHEDULE=@every 10h", "WAYSIDE_DATA_FREE_MIN=0",
	"WAYSIDE_COLLECTOR_DRAIN_INTERVAL=100ms",
}

// trial is a data directory, a wayside that uses it, and the traffic through that wayside. The faults in the other files are functions
// that take a trial. Its methods are the steps and checks that they share.
type trial struct {
	lab     *Lab
	dir     string // the folder of the trial
	dataDir string
	archive string // a directory
	w       *e2e.Wayside
	log     *testlog.Buffer
	traffic traffic
	http2   bool         // whether the clients speak HTTP/2
	durable *load.Bitmap // nonces that must be in the books; nil for everything that was received
	// beforeCut holds the nonces that had been received when the power was cut. It is nil if there was no power cut.
	beforeCut *load.Bitmap
	// orphaned is the longest time that a books process took to end after its parent had died.
	orphaned time.Duration
	// settledTimeout is the maximum time until the books have settled; 0 means the default.
	settledTimeout time.Duration

	lossy  bool       // whether losses are allowed if they are counted
	only   string     // the only allowed reason for counted losses; empty allows any
	window bool       // whether responses that were not durable yet may be lost; as many of these as possible are counted
	books  *e2e.Books // the contents of the archive at the audit
	// refilled means that the store was set aside, so the new store must be refilled with everything in the archive.
	refilled    bool
	killsRefill bool          // whether the books process is killed during the refill …
	killAfter   time.Duration // … this long after the start
	exact       bool          // with lossy: nothing was killed, so exactly the missing responses must be counted
}

// newTrial prepares a trial with its own folder. It does not start anything.
func (l *Lab) newTrial(env ...string) (*trial, error) {
	dir, err := l.trialDir()
	if err != nil {
		return nil, err
	}
	return l.newTrialIn(dir, filepath.Join(dir, "data"), env...)
}

// newTrialIn is like newTrial, but with a data directory in a different place, such as another filesystem.
func (l *Lab) newTrialIn(dir, dataDir string, env ...string) (*trial, error) {
	listen, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	t := &trial{lab: l, dir: dir, dataDir: dataDir, archive: filepath.Join(dataDir, "archive"), log: &testlog.Buffer{}}
	t.w = &e2e.Wayside{
		Binary: l.plain, DataDir: dataDir, Listen: listen, Log: t.log,
		Args: []string{"--upstream", l.origin}, Env: env,
	}
	return t, nil
}

// end stops everything. It removes the directory, unless the trial failed and the lab keeps such directories.
func (t *trial) end(failed bool) {
	_ = t.traffic.stop()
	_ = t.w.Stop(30 * time.Second)
	if failed {
		_ = os.WriteFile(filepath.Join(t.dir, "wayside.log"), []byte(t.log.String()), 0o600)
	}
	if failed && t.lab.Keep {
		t.lab.progress("kept the directory %s", t.dir)
		return
	}
	_ = os.RemoveAll(t.dir)
}

func (t *trial) startTraffic(ctx context.Context, rate float64) {
	if t.http2 {
		t.traffic.startHTTP2(ctx, t.w.Listen)
		return
	}
	t.traffic.start(ctx, t.w.Listen, connections, rate)
}

// inProgress returns the maximum number of requests in progress.
func (t *trial) inProgress() uint64 {
	if t.http2 {
		return http2Connections * http2Streams
	}
	return connections
}

// restart starts wayside and returns the time until it was ready.
func (t *trial) restart(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := t.w.Start(ctx)
	return time.Since(began), err
}

// orphanWait is the maximum time that a books process may take to end after the death of its parent.
const orphanWait = 20 * time.Second

// killRun kills the traffic process and waits until the books process has ended by itself. If the books process does not end, killRun
// makes it write its stacks to the log, kills it, and returns an error.
func (t *trial) killRun() error {
	books := t.w.BooksPID()
	kill(t.w.PID())
	defer t.w.Kill() // also waits until the process has ended
	if books == 0 {
		return nil
	}
	began := time.Now()
	defer func() { t.orphaned = max(t.orphaned, time.Since(began)) }()
	for deadline := began.Add(orphanWait); alive(books); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			quit(books)
			time.Sleep(time.Second)
			kill(books)
			return fmt.Errorf("the books process still ran %v after its parent was killed: its stacks are in the log", orphanWait)
		}
	}
	return nil
}

// killAll kills both processes, and waits until both have ended.
func (t *trial) killAll() {
	books := t.w.BooksPID()
	if books > 0 {
		kill(books)
	}
	t.w.Kill()
	for books > 0 && alive(books) {
		time.Sleep(2 * time.Millisecond)
	}
	if again := t.w.BooksPID(); again > 0 {
		kill(again)
	}
}

// awaitTraffic waits until n more responses have been received, but no longer than limit.
func (t *trial) awaitTraffic(ctx context.Context, n uint64, limit time.Duration) {
	want := t.traffic.counters.Received.Load() + n
	deadline := time.Now().Add(limit)
	for t.traffic.counters.Received.Load() < want && time.Now().Before(deadline) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Outcome is the result of one cycle. Counts are numbers of requests.
type Outcome struct {
	Requests    uint64
	Received    uint64
	Lost        uint64 // received (or durable), but neither in the books nor counted as lost
	Doubled     uint64
	Failed      uint64 // failed requests that the fault does not explain
	Dropped     uint64
	Quarantined uint64
	Window      uint64        // received before a power cut, but not yet durable, and lost
	Recovery    time.Duration // time from the fault, or from the start after it, until wayside was ready
	Note        string        // additional information
}

// audit ends the traffic, waits until the books have settled, archives everything, and runs all checks. The outcome is valid even if
// there is an error. The error says which checks failed.
func (t *trial) audit(ctx context.Context) (o Outcome, err error) {
	if err := t.traffic.stop(); err != nil {
		return o, err
	}
	r := &t.traffic.report
	o.Requests, o.Received = r.Sent, r.Received
	settle, cancel := context.WithTimeout(ctx, max(settledTimeout, t.settledTimeout))
	defer cancel()
	if _, err := t.w.AwaitSettled(settle); err != nil {
		return o, err
	}
	if _, err := t.w.Ask(settle, http.MethodPost, "/-/job/archive?all=true"); err != nil {
		return o, err
	}
	if err := t.w.AwaitRefill(settle); err != nil {
		return o, err
	}
	a, err := t.w.AwaitSettled(settle)
	if err != nil {
		return o, err
	}
	target, err := uploader.OpenTarget(ctx, t.archive, uploader.TargetOptions{})
	if err != nil {
		return o, err
	}
	books, err := e2e.ReadBooks(ctx, target)
	if err != nil {
		return o, err
	}
	t.books = books
	err = errors.Join(t.compare(&o, a, books), t.verified(ctx))
	if t.exact {
		err = errors.Join(err, t.compareDrops(ctx, a, books))
	}
	if t.exact || t.only != "" || !t.lossy {
		err = errors.Join(err, t.hourlyDrops(ctx))
	}
	return o, err
}

// minutes compares the statistics per minute of the last day with a recount of the archive.
func (t *trial) minutes(ctx context.Context, books *e2e.Books) error {
	body, err := t.w.Ask(ctx, http.MethodGet, "/api/v1/series?step=1m&from=-24h")
	if err != nil {
		return fmt.Errorf("minutes: %w", err)
	}
	var series struct {
		Resolution string
		Points     []struct {
			Time  time.Time
			Count uint64
		}
	}
	if err := json.Unmarshal(body, &series); err != nil {
		return fmt.Errorf("minutes: %w", err)
	}
	if series.Resolution != "1m" {
		return fmt.Errorf("%w: statistics by the minute are not complete", errNotAsPromised)
	}
	left := maps.Clone(books.Minutes)
	for _, p := range series.Points {
		if want := left[p.Time.Unix()/60]; p.Count != want {
			return fmt.Errorf("%w: the minute %s counts %d, the archive has %d", errNotAsPromised, p.Time, p.Count, want)
		}
		delete(left, p.Time.Unix()/60)
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: %d minutes of the archive are not in the statistics", errNotAsPromised, len(left))
	}
	return nil
}

// verified makes the running wayside verify its data directory.
func (t *trial) verified(ctx context.Context) error {
	body, err := t.w.Ask(ctx, http.MethodPost, "/api/v1/verify")
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var report verify.Report
	if err := json.Unmarshal(body, &report); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if report.OK && len(report.Checks) > 5 {
		return nil
	}
	var found []string
	for _, c := range report.Checks {
		for _, p := range append(c.Problems, c.Unmade...) {
			found = append(found, c.Name+": "+p)
		}
	}
	return fmt.Errorf("%w: %d checks: %s", errNotAsPromised, len(report.Checks), strings.Join(found, "; "))
}

var errNotAsPromised = errors.New("verify found problems")

// compare compares the requests with the accounting and the archive.
func (t *trial) compare(o *Outcome, a e2e.Accounting, books *e2e.Books) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	must := t.durable
	if must == nil {
		must = &t.traffic.received
	}
	o.Doubled = books.Doubled
	o.Dropped, o.Quarantined = a.DroppedTotal(), a.Quarantined
	lost, first := must.Missing(&books.Nonces, 5)
	if t.beforeCut != nil {
		gone, _ := t.beforeCut.Missing(&books.Nonces, 0)
		o.Window = gone - min(gone, lost)
	}
	counted := o.Dropped + o.Quarantined
	if t.lossy {
		o.Lost = lost - min(lost, counted)
	} else {
		o.Lost = lost
		if counted > 0 && (!t.window || counted != a.Dropped["damaged"]) {
			fail("%d drops (%v) and %d quarantined, but none are allowed", o.Dropped, a.Dropped, o.Quarantined)
		}
	}
	if t.only != "" && counted != a.Dropped[t.only] {
		fail("%d drops (%v) and %d quarantined, but only %q is allowed", o.Dropped, a.Dropped, o.Quarantined, t.only)
	}
	if a.Excluded > 0 || a.Responses > o.Requests {
		fail("%d responses, %d of them excluded, but %d requests", a.Responses, a.Excluded, o.Requests)
	}
	if o.Lost > 0 {
		fail("%d lost, such as %v (%d counted as dropped, %d as quarantined)", o.Lost, first, o.Dropped, o.Quarantined)
	}
	if unsent, which := books.Nonces.Missing(&t.traffic.sent, 5); unsent > 0 || books.Foreign > 0 {
		fail("%d lines were never sent, such as %v; %d have no nonce", unsent, which, books.Foreign)
	}
	if books.Doubled > 0 || uint64(len(books.IDs)) != books.Lines {
		fail("%d lines are in the books twice; %d different event ids in %d lines", books.Doubled, len(books.IDs), books.Lines)
	}
	if a.Archived != a.Applied || (!t.lossy && books.Lines != a.Archived) {
		fail("%d lines in the archive, but the accounting has %d archived of %d applied", books.Lines, a.Archived, a.Applied)
	}
	if t.refilled && books.Lines != a.Archived {
		fail("%d lines in the archive, but %d are counted after the refill", books.Lines, a.Archived)
	}
	if n := t.traffic.report.Failed[load.KindVerify]; n > 0 {
		fail("%d responses differ from the origin's: %v", n, t.traffic.report.Errors)
	}
	if strings.Contains(t.log.String(), "DATA RACE") {
		fail("the race detector found a race")
	}
	return errors.Join(errs...)
}

// failedBeyond returns the number of failed requests in excess of those that the fault may cause.
func (t *trial) failedBeyond(allowed uint64) (uint64, error) {
	n := t.traffic.report.FailedTotal()
	if n <= allowed {
		return 0, nil
	}
	return n - allowed, fmt.Errorf("%d requests failed, at most %d are allowed: %v %v", n, allowed, t.traffic.report.Failed, t.traffic.report.Errors)
}

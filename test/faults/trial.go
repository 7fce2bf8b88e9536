package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/internal/verify"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/uploader"
)

const (
	settleTimeout = 60 * time.Second
	connections   = 16 // of the clients
)

// busyEnv archives what is applied within a second and deletes at once what is archived.
var busyEnv = []string{
	"WAYSIDE_ARCHIVE_SCHEDULE=@every 1s", "WAYSIDE_ARCHIVE_AFTER=0s",
	"WAYSIDE_RETENTION_SCHEDULE=@every 1s", "WAYSIDE_RETENTION_EVENTS=0s", "WAYSIDE_DATA_FREE_MIN=0",
	"WAYSIDE_COLLECTOR_DRAIN_INTERVAL=100ms", "WAYSIDE_ARCHIVE_EXPIRE=0",
}

// quietEnv archives only when the trial says so.
var quietEnv = []string{
	"WAYSIDE_ARCHIVE_SCHEDULE=@every 10h", "WAYSIDE_RETENTION_SCHEDULE=@every 10h", "WAYSIDE_DATA_FREE_MIN=0",
	"WAYSIDE_COLLECTOR_DRAIN_INTERVAL=100ms",
}

// trial is one data directory, the wayside on it, and the traffic through it.
type trial struct {
	lab     *Lab
	dir     string // of the trial
	dataDir string
	archive string // a directory
	w       *e2e.Wayside
	log     *logBuffer
	traffic traffic
	durable *load.Bitmap // what must be in the books; nil: everything received
	// beforeCut is what was received when the power was cut; nil if it was not.
	beforeCut *load.Bitmap
	// orphaned is the longest that a books process took to leave after its parent's death, beyond the harness's own wait.
	orphaned time.Duration
	// settleTimeout is how long the books may take to settle; 0 means the usual.
	settleTimeout time.Duration

	lossy  bool       // losses are allowed if they are counted
	only   string     // lossy, and this is the one reason there may be; empty: any
	window bool       // what was not durable yet may be lost, and is counted where that is known
	books  *e2e.Books // what the archive held at the audit
	// refilled: the store was set aside, so that everything in the archive must come back from there.
	refilled    bool
	killsRefill bool          // the books process is killed while it may be at that …
	killAfter   time.Duration // … so long after the start
	exact       bool          // lossy, and nothing was killed: what is missing is what was counted, to the unit, everywhere
}

// logBuffer collects wayside's log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newTrial prepares a trial whose data is in a folder of its own. Nothing is started.
func (l *Lab) newTrial(env ...string) (*trial, error) {
	dir, err := l.trialDir()
	if err != nil {
		return nil, err
	}
	return l.newTrialIn(dir, filepath.Join(dir, "data"), env...)
}

// newTrialIn is newTrial with the data elsewhere, on a filesystem of the trial's own.
func (l *Lab) newTrialIn(dir, dataDir string, env ...string) (*trial, error) {
	listen, err := e2e.FreeAddress()
	if err != nil {
		return nil, err
	}
	t := &trial{lab: l, dir: dir, dataDir: dataDir, archive: filepath.Join(dataDir, "archive"), log: &logBuffer{}}
	t.w = &e2e.Wayside{
		Binary: l.plain, DataDir: dataDir, Listen: listen, Log: t.log,
		Args: []string{"--upstream", l.origin}, Env: env,
	}
	return t, nil
}

// end stops what runs. The directory is removed unless the trial failed and is to be kept.
func (t *trial) end(failed bool) {
	_ = t.traffic.stop()
	_ = t.w.Stop(30 * time.Second)
	if failed {
		_ = os.WriteFile(filepath.Join(t.dir, "wayside.log"), []byte(t.log.String()), 0o600)
	}
	if failed && t.lab.Keep {
		t.lab.say("kept: %s", t.dir)
		return
	}
	_ = os.RemoveAll(t.dir)
}

func (t *trial) startTraffic(ctx context.Context, rate float64) {
	t.traffic.start(ctx, t.w.Listen, connections, rate)
}

// restart starts wayside and returns how long that took, until it was ready.
func (t *trial) restart(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := t.w.Start(ctx)
	return time.Since(began), err
}

// orphanWait is how long a books process may take to leave once its parent is gone.
const orphanWait = 20 * time.Second

// killRun kills the traffic process, and waits until the books process has left by itself. One that stays says where it is
// stuck in the log and is killed, which is an error.
func (t *trial) killRun() error {
	books := t.w.BooksPID()
	kill(t.w.PID())
	defer t.w.Kill() // waits for its end
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
			return fmt.Errorf("the books process stayed for %v after its parent was killed; its stack is in the log", orphanWait)
		}
	}
	return nil
}

// killAll kills both processes at once, and waits until neither is there.
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

// awaitTraffic waits until n more responses were received, or the time is over.
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

// Outcome is what one cycle came to. Counts are of requests.
type Outcome struct {
	Requests    uint64
	Received    uint64
	Lost        uint64 // received (or durable) and neither in the books nor counted as lost
	Doubled     uint64
	Failed      uint64 // failed requests that the fault does not explain
	Dropped     uint64
	Quarantined uint64
	Window      uint64        // received before a power cut, not durable by then, and gone
	Recovery    time.Duration // from the fault, or the start after it, to service
	Note        string        // anything else worth a word
}

// audit ends the traffic, lets the books settle, archives everything, and asks all questions. What it returns is valid
// beside an error, which says what does not hold.
func (t *trial) audit(ctx context.Context) (o Outcome, err error) {
	if err := t.traffic.stop(); err != nil {
		return o, err
	}
	r := &t.traffic.report
	o.Requests, o.Received = r.Sent, r.Received
	settle, cancel := context.WithTimeout(ctx, max(settleTimeout, t.settleTimeout))
	defer cancel()
	if _, err := t.w.Settle(settle); err != nil {
		return o, err
	}
	if _, err := t.w.Ask(settle, http.MethodPost, "/-/job/archive?all=true"); err != nil {
		return o, err
	}
	if err := t.w.AwaitRefill(settle); err != nil {
		return o, err
	}
	a, err := t.w.Settle(settle)
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

// verified asks the running wayside to verify itself.
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

var errNotAsPromised = errors.New("verify says that not everything is as promised")

// compare asks the questions.
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
			fail("%d drops (%v) and %d quarantined where none may be", o.Dropped, a.Dropped, o.Quarantined)
		}
	}
	if t.only != "" && counted != a.Dropped[t.only] {
		fail("%d drops (%v) and %d quarantined, only %q may be", o.Dropped, a.Dropped, o.Quarantined, t.only)
	}
	if a.Excluded > 0 || a.Responses > o.Requests {
		fail("%d responses, %d of them excluded, for %d requests", a.Responses, a.Excluded, o.Requests)
	}
	if o.Lost > 0 {
		fail("%d lost, such as %v (%d counted as dropped, %d as quarantined)", o.Lost, first, o.Dropped, o.Quarantined)
	}
	if unsent, which := books.Nonces.Missing(&t.traffic.sent, 5); unsent > 0 || books.Foreign > 0 {
		fail("%d lines were never sent, such as %v; %d carry no nonce", unsent, which, books.Foreign)
	}
	if books.Doubled > 0 || uint64(len(books.IDs)) != books.Lines {
		fail("%d doubled; %d distinct event ids in %d lines", books.Doubled, len(books.IDs), books.Lines)
	}
	if a.Archived != a.Applied || (!t.lossy && books.Lines != a.Archived) {
		fail("%d lines in the archive, accounting says archived %d of applied %d", books.Lines, a.Archived, a.Applied)
	}
	if t.refilled && books.Lines != a.Archived {
		fail("%d lines in the archive, of which %d are counted after the refill", books.Lines, a.Archived)
	}
	if n := t.traffic.report.Failed[load.KindVerify]; n > 0 {
		fail("%d responses were not what the origin sent: %v", n, t.traffic.report.Errors)
	}
	if strings.Contains(t.log.String(), "DATA RACE") {
		fail("the race detector found something")
	}
	return errors.Join(errs...)
}

// failedBeyond counts the failed requests beyond what the fault explains.
func (t *trial) failedBeyond(allowed uint64) (uint64, error) {
	n := t.traffic.report.FailedTotal()
	if n <= allowed {
		return 0, nil
	}
	return n - allowed, fmt.Errorf("%d requests failed, at most %d may: %v %v", n, allowed, t.traffic.report.Failed, t.traffic.report.Errors)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/datadir"
)

// powerMiB is the size of the filesystem whose power is cut. All power cuts except those of runPowerInterval use spool.sync: request, so
// a response that was received before the cut is durable and must be in the books. A response that was received during the cut may or may
// not be in the books.
const powerMiB = 192

// powerFault cuts the power of the filesystem with the data directory and the archive, during one phase.
func powerFault(phase string) func(context.Context, *Lab, *Piece) error {
	return func(ctx context.Context, l *Lab, p *Piece) error {
		return p.each(ctx, l, func(random *rand.Rand, _ int) (Outcome, error) {
			env := quietEnv
			if phase == "archive" || phase == "delete" {
				env = busyEnv
			}
			env = append([]string{"WAYSIDE_SPOOL_SYNC=request"}, env...)
			return l.onVolume(env, func(t *trial, disk *volume) (Outcome, error) {
				if err := t.enterPhase(ctx, random, phase); err != nil {
					return Outcome{}, err
				}
				t.durable = copyOf(&t.traffic.received)
				o, err := t.powerCut(ctx, random, disk)
				if phase == "create" && err == nil {
					err = t.nothingSetAside()
				}
				return o, err
			})
		})
	}
}

// runPowerInterval cuts the power with spool.sync: interval, the default, while no books process is running. Responses that were received
// before the start of the queue's last commit must be in the books. The note has the time between the start of that commit and the cut.
func runPowerInterval(ctx context.Context, l *Lab, p *Piece) error {
	return p.each(ctx, l, func(random *rand.Rand, _ int) (Outcome, error) {
		return l.onVolume(quietEnv, func(t *trial, disk *volume) (Outcome, error) {
			env := t.w.Env
			t.w.Env = append([]string{"WAYSIDE_COLLECTOR_ENABLED=false"}, env...)
			if _, err := t.restart(ctx); err != nil {
				return Outcome{}, err
			}
			t.startTraffic(ctx, 3000) // not enough to fill a segment of the journal between two commits
			t.awaitTraffic(ctx, 200+uint64(random.IntN(2000)), 10*time.Second)
			sleep(ctx, time.Duration(random.IntN(150))*time.Millisecond)
			t.durable = copyOf(&t.traffic.received)
			began := time.Now()
			if err := t.awaitCommits(ctx, 2); err != nil { // the first commit may have begun earlier, but the second cannot
				return Outcome{}, err
			}
			window := time.Since(began)
			t.w.Env = env
			o, err := t.powerCut(ctx, random, disk)
			o.Note = fmt.Sprintf("committed within %v; %d later responses are lost", window.Round(time.Millisecond), o.Window)
			return o, err
		})
	})
}

// awaitCommits waits for n more commits of the queue. Without a books process, every commit contains events.
func (t *trial) awaitCommits(ctx context.Context, n uint64) error {
	before, err := t.commits(ctx)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; sleep(ctx, time.Millisecond) {
		if now, err := t.commits(ctx); err != nil || now >= before+n {
			return err
		}
	}
	return fmt.Errorf("fewer than %d commits in 20 s", n)
}

func (t *trial) commits(ctx context.Context) (n uint64, err error) {
	text, err := t.w.Ask(ctx, http.MethodGet, "/metrics")
	if err != nil {
		return 0, err
	}
	const name = `wayside_spool_commits_total{result="ok"} `
	_, rest, found := strings.Cut(string(text), "\n"+name)
	value, _, _ := strings.Cut(rest, "\n")
	if n, err = strconv.ParseUint(value, 10, 64); !found || err != nil {
		return 0, fmt.Errorf("the metrics have no number for %q: %w", name, err)
	}
	return n, nil
}

// onVolume runs a trial on its own filesystem.
func (l *Lab) onVolume(env []string, cycle func(t *trial, disk *volume) (Outcome, error)) (Outcome, error) {
	dir, err := l.trialDir()
	if err != nil {
		return Outcome{}, err
	}
	disk, err := newVolume(dir, powerMiB)
	if err != nil {
		return Outcome{}, err
	}
	t, err := l.newTrialIn(dir, filepath.Join(disk.at, "data"), env...)
	if err != nil {
		return Outcome{}, errors.Join(err, disk.remove())
	}
	o, err := cycle(t, disk)
	if err != nil && l.Keep {
		t.end(true)
		return o, err
	}
	_ = t.traffic.stop()
	t.killAll()
	err = errors.Join(err, disk.remove())
	t.end(err != nil)
	return o, err
}

// powerCut cuts the power, restores it, and audits: durable responses must be in the books.
func (t *trial) powerCut(ctx context.Context, random *rand.Rand, disk *volume) (Outcome, error) {
	t.window, t.beforeCut = true, copyOf(&t.traffic.received)
	if err := disk.cut(); err != nil {
		return Outcome{}, err
	}
	sleep(ctx, time.Duration(random.IntN(50))*time.Millisecond) // meanwhile, the processes run on a failing disk
	if err := t.killRun(); err != nil {
		return Outcome{}, err
	}
	if err := errors.Join(disk.unmount(), disk.mount()); err != nil {
		return Outcome{}, err
	}
	took, err := t.restart(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if t.traffic.cancel == nil { // the cut came before the traffic started
		t.startTraffic(ctx, 2000)
	}
	t.awaitTraffic(ctx, 500, 5*time.Second)
	failed := t.traffic.counters.Failed.Load()
	o, err := t.audit(ctx)
	o.Recovery = took
	o.Note = fmt.Sprintf("the orphaned books process ended after %v", t.orphaned.Round(time.Millisecond))
	if late := t.traffic.report.FailedTotal(); late > failed+connections {
		err = errors.Join(err, fmt.Errorf("%d requests failed after the power returned: %v", late-failed, t.traffic.report.Errors))
	}
	return o, err
}

// nothingSetAside checks that no file looked damaged: each file of a new data directory must be either complete or
// missing.
func (t *trial) nothingSetAside() error {
	entries, err := os.ReadDir(filepath.Join(t.dataDir, datadir.Quarantine))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, fmt.Errorf("%s was set aside", e.Name()))
	}
	return err
}

// enterPhase brings wayside to a random moment within a phase.
func (t *trial) enterPhase(ctx context.Context, random *rand.Rand, phase string) error {
	if phase == "create" {
		// Most cuts come early, because everything is created well within 250 ms unless the machine is busy.
		started, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(1+random.IntN(250)))*time.Millisecond)
		defer cancel()
		_ = t.w.Start(started) // fails if the time has passed before wayside is ready
		<-started.Done()       // the books process starts when the traffic process is ready
		return nil
	}
	if _, err := t.restart(ctx); err != nil {
		return err
	}
	t.startTraffic(ctx, 0)
	t.awaitTraffic(ctx, 200+uint64(random.IntN(2000)), 10*time.Second)
	if phase == "drain" {
		// Build up a backlog, and let the books process drain it at full speed.
		pause(t.w.BooksPID())
		t.awaitTraffic(ctx, 10_000, 10*time.Second)
		resume(t.w.BooksPID())
	}
	sleep(ctx, time.Duration(random.IntN(map[string]int{"archive": 2500, "delete": 3500}[phase]+150))*time.Millisecond)
	return nil
}

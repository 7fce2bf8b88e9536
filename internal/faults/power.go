package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// Every power cut is made with spool.sync: request, so that a response that was received before the cut is acknowledged as
// durable, and must be in the books. What was received in the moment of the cut may be.
const powerMiB = 192

// powerFault cuts the power of the filesystem that holds the data directory, archive included, in one phase.
func powerFault(phase string) func(context.Context, *Lab, *Piece) error {
	return func(ctx context.Context, l *Lab, p *Piece) error {
		return p.each(ctx, l, func(random *rand.Rand, _ int) (Outcome, error) {
			dir, err := l.trialDir()
			if err != nil {
				return Outcome{}, err
			}
			disk, err := newVolume(dir, powerMiB)
			if err != nil {
				return Outcome{}, err
			}
			env := quietEnv
			if phase == "archive" || phase == "delete" {
				env = busyEnv
			}
			t, err := l.newTrialIn(dir, filepath.Join(disk.at, "data"), append([]string{"WAYSIDE_SPOOL_SYNC=request"}, env...)...)
			if err != nil {
				return Outcome{}, errors.Join(err, disk.remove())
			}
			o, err := t.power(ctx, random, disk, phase)
			if err != nil && l.Keep {
				t.end(true)
				return o, err
			}
			_ = t.traffic.stop()
			t.killAll()
			err = errors.Join(err, disk.remove())
			t.end(err != nil)
			return o, err
		})
	}
}

func (t *trial) power(ctx context.Context, random *rand.Rand, disk *volume, phase string) (Outcome, error) {
	if err := t.upToThePhase(ctx, random, phase); err != nil {
		return Outcome{}, err
	}
	t.window = true
	t.durable = copyOf(&t.traffic.received)
	if err := disk.cut(); err != nil {
		return Outcome{}, err
	}
	sleep(ctx, time.Duration(random.IntN(50))*time.Millisecond) // the processes live on a disk that fails
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
	if phase == "create" {
		t.startTraffic(ctx, 2000)
	}
	t.awaitTraffic(ctx, 500, 5*time.Second)
	failed := t.traffic.counters.Failed.Load()
	o, err := t.audit(ctx)
	o.Recovery = took
	o.Note = fmt.Sprintf("orphan left after %v", t.orphaned.Round(time.Millisecond))
	if late := t.traffic.report.FailedTotal(); late > failed+connections {
		err = errors.Join(err, fmt.Errorf("%d requests failed after the power was back: %v", late-failed, t.traffic.report.Errors))
	}
	return o, err
}

// upToThePhase brings wayside into the middle of the phase.
func (t *trial) upToThePhase(ctx context.Context, random *rand.Rand, phase string) error {
	if phase == "create" {
		started, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(250))*time.Millisecond)
		defer cancel()
		_ = t.w.Start(started) // it may or may not get that far
		return nil
	}
	if _, err := t.restart(ctx); err != nil {
		return err
	}
	t.startTraffic(ctx, 0)
	t.awaitTraffic(ctx, 200+uint64(random.IntN(2000)), 10*time.Second) //nolint:gosec // small
	if phase == "drain" {
		// A backlog, and then the drain at full speed.
		pause(t.w.BooksPID())
		t.awaitTraffic(ctx, 10_000, 10*time.Second)
		resume(t.w.BooksPID())
	}
	sleep(ctx, time.Duration(random.IntN(map[string]int{"archive": 2500, "delete": 3500}[phase]+150))*time.Millisecond)
	return nil
}

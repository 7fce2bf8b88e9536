package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/internal/e2e"
)

const (
	diskMiB      = 96
	fillsPerDisk = 5 // fills and frees of one data directory
)

// runDisk fills a small filesystem under traffic and frees it again. Every request must be served all the while, every
// response be recorded or counted as dropped, and recording go on by itself when there is space.
func runDisk(ctx context.Context, l *Lab, p *Piece) error {
	return p.groups(ctx, l, fillsPerDisk, func(random *rand.Rand, first, n int) (Outcome, error) {
		dir, err := l.trialDir()
		if err != nil {
			return Outcome{}, err
		}
		make := newTmpfs
		if first/fillsPerDisk%2 == 1 {
			make = newVolume
		}
		disk, err := make(dir, diskMiB)
		if err != nil {
			return Outcome{}, err
		}
		t, err := l.newTrialIn(dir, filepath.Join(disk.at, "data"), append([]string{
			"WAYSIDE_SPOOL_BYTES_MAX=8MiB", "WAYSIDE_SPOOL_SEGMENT_BYTES=256KiB",
		}, quietEnv...)...)
		if err != nil {
			return Outcome{}, errors.Join(err, disk.remove())
		}
		o, err := t.fills(ctx, random, disk, n)
		_ = t.traffic.stop()
		if err != nil {
			o.Note += usageOf(t.dataDir)
		}
		t.killAll()
		err = errors.Join(err, disk.remove())
		t.end(err != nil)
		return o, err
	})
}

func usageOf(dir string) string {
	out, _ := exec.Command("du", "-sk", "--", dir, filepath.Join(dir, "spool"), filepath.Join(dir, "store")).Output()
	return " " + oneLine(string(out))
}

func (t *trial) fills(ctx context.Context, random *rand.Rand, disk *volume, n int) (Outcome, error) {
	if _, err := t.restart(ctx); err != nil {
		return Outcome{}, err
	}
	var recovery time.Duration
	for range n {
		t.startTraffic(ctx, 5000)
		t.awaitTraffic(ctx, 500+uint64(random.IntN(3000)), 5*time.Second) //nolint:gosec // small
		ballast := filepath.Join(disk.at, "ballast")
		if err := fill(ballast); err != nil {
			return Outcome{}, err
		}
		sleep(ctx, 4*time.Second+time.Duration(random.IntN(3000))*time.Millisecond) // longer than journal and queue last
		freed := time.Now()
		if err := os.Remove(ballast); err != nil {
			return Outcome{}, err
		}
		if err := t.awaitRecording(ctx); err != nil {
			return Outcome{}, err
		}
		recovery = max(recovery, time.Since(freed))
		if err := t.traffic.stop(); err != nil {
			return Outcome{}, err
		}
	}
	t.lossy = true
	o, err := t.audit(ctx)
	o.Recovery = recovery
	failed, failErr := t.failedBeyond(0)
	o.Failed = failed
	a, exactErr := t.exact(ctx, o)
	o.Note = fmt.Sprintf("dropped %v", a.Dropped)
	return o, errors.Join(err, failErr, exactErr)
}

// exact checks that what is missing is what was counted, to the unit: no request failed, so responses are what was received.
func (t *trial) exact(ctx context.Context, o Outcome) (e2e.Accounting, error) {
	a, err := t.w.Accounting(ctx)
	if err == nil && (a.Responses != o.Received || a.Recorded+a.DroppedTotal() != o.Received) {
		err = fmt.Errorf("%d responses were received; accounting says %d, %d recorded, %d dropped", o.Received, a.Responses, a.Recorded, a.DroppedTotal())
	}
	return a, err
}

// fill writes until there is no more space.
func fill(name string) error {
	f, err := os.Create(name) //nolint:gosec // the trial's own disk
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for size := len(block); size >= 512; {
		if _, err := f.Write(block[:size]); err != nil {
			size /= 2
		}
	}
	return f.Close()
}

// awaitRecording waits until drops stand still while the traffic goes on, and the books process applies again.
func (t *trial) awaitRecording(ctx context.Context) error {
	deadline := time.Now().Add(60 * time.Second)
	for ctx.Err() == nil {
		before, err := t.w.Accounting(ctx)
		if err == nil {
			sleep(ctx, 500*time.Millisecond)
			after, err := t.w.Accounting(ctx)
			if err == nil && after.DroppedTotal() == before.DroppedTotal() && after.Applied > before.Applied && after.Responses > before.Responses {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("recording has not begun again a minute after space came back: %+v, %w", before, err)
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return ctx.Err()
}

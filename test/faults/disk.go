package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

const (
	diskMiB      = 96
	fillsPerDisk = 5 // number of times that the disk of one data directory becomes full
)

// runDisk fills a small filesystem under traffic and frees it again. While the disk is full, every request must be served, and every
// response must be recorded or counted as dropped. Recording must resume by itself when there is space.
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
		t, err := l.newTrialIn(dir, filepath.Join(disk.at, "data"), append(smallSpoolEnv, quietEnv...)...)
		if err != nil {
			return Outcome{}, errors.Join(err, disk.remove())
		}
		o, err := fillDisk(ctx, t, random, disk, n)
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

// smallSpoolEnv makes the journal and the queue so small that they fill up, and drops begin, after the disk has been full for a few
// seconds.
var smallSpoolEnv = []string{"WAYSIDE_SPOOL_BYTES_MAX=1MiB", "WAYSIDE_SPOOL_SEGMENT_BYTES=64KiB"}

func fillDisk(ctx context.Context, t *trial, random *rand.Rand, disk *volume, n int) (o Outcome, err error) {
	if _, err := t.restart(ctx); err != nil {
		return o, err
	}
	var recovery time.Duration
	for range n {
		t.startTraffic(ctx, 6000)
		t.awaitTraffic(ctx, 500+uint64(random.IntN(3000)), 5*time.Second)
		ballast := filepath.Join(disk.at, "ballast")
		if err := fill(ballast); err != nil {
			return o, err
		}
		if err := t.awaitDrops(ctx); err != nil {
			return o, err
		}
		sleep(ctx, time.Duration(random.IntN(1000))*time.Millisecond)
		freed := time.Now()
		if err := os.Remove(ballast); err != nil {
			return o, err
		}
		if err := t.recordsAgain(ctx, freed, &recovery); err != nil {
			return o, err
		}
	}
	return t.auditDrops(ctx, recovery)
}

// recordsAgain waits until recording resumes after the end of the fault, and ends the traffic. It updates longest,
// the longest time that recording has taken to resume.
func (t *trial) recordsAgain(ctx context.Context, ended time.Time, longest *time.Duration) error {
	if err := t.awaitRecording(ctx); err != nil {
		return err
	}
	*longest = max(*longest, time.Since(ended))
	return t.traffic.stop()
}

// awaitDrops waits until further responses are dropped while the traffic continues.
func (t *trial) awaitDrops(ctx context.Context) error {
	before, err := t.w.Accounting(ctx)
	for began := time.Now(); time.Since(began) < 30*time.Second && ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		var now e2e.Accounting
		if now, err = t.w.Accounting(ctx); err == nil && now.DroppedTotal() > before.DroppedTotal() {
			return nil
		}
	}
	return errors.Join(err, ctx.Err(), errors.New("nothing was dropped: the fault did not affect the spool, so this trial shows nothing"))
}

// auditDrops is like audit, for a trial in which responses were dropped and no process was killed by the harness.
func (t *trial) auditDrops(ctx context.Context, recovery time.Duration) (Outcome, error) {
	t.lossy, t.exact = true, true
	o, err := t.audit(ctx)
	o.Recovery = recovery
	failed, failErr := t.failedBeyond(0)
	o.Failed = failed
	return o, errors.Join(err, failErr)
}

// compareDrops checks that exactly the missing responses were counted: in the accounting, in the archive's drop records, and in the
// metrics. The log must mention drops. No request failed in the trial, so every response was received.
func (t *trial) compareDrops(ctx context.Context, a e2e.Accounting, books *e2e.Books) error {
	var errs []error
	received := t.traffic.report.Received
	dropped := a.DroppedTotal()
	missing, _ := t.traffic.received.Missing(&books.Nonces, 0)
	if a.Responses != received || a.Recorded+dropped != received || missing != dropped+a.Quarantined {
		errs = append(errs, fmt.Errorf("%d responses were received, and %d of them are not in the books; the accounting has %d, %d recorded, %v dropped, %d quarantined",
			received, missing, a.Responses, a.Recorded, a.Dropped, a.Quarantined))
	}
	if books.Dropped != dropped {
		errs = append(errs, fmt.Errorf("the drop records in the archive report %d drops, the accounting has %d", books.Dropped, dropped))
	}
	metrics, err := t.w.Ask(ctx, http.MethodGet, "/metrics")
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for reason, n := range a.Dropped {
		if line := fmt.Sprintf("wayside_spool_dropped_total{reason=%q} %d\n", reason, n); n > 0 && !strings.Contains(string(metrics), line) {
			errs = append(errs, fmt.Errorf("the metrics do not contain %s", line))
		}
	}
	if lines := strings.Count(t.log.String(), droppedInLog); dropped > 0 && (lines == 0 || lines > 200) {
		errs = append(errs, fmt.Errorf("%d lines of the log mention drops, but %d responses were dropped", lines, dropped))
	}
	return errors.Join(errs...)
}

// hourlyDrops checks that the drops of all hours add up to the drop records in the archive.
func (t *trial) hourlyDrops(ctx context.Context) error {
	body, err := t.w.Ask(ctx, http.MethodGet, "/api/v1/paths?from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z")
	if err != nil {
		return err
	}
	var answer struct {
		Totals struct{ Dropped map[string]uint64 }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("paths: %w", err)
	}
	sum := uint64(0)
	for _, n := range answer.Totals.Dropped {
		sum += n
	}
	if sum != t.books.Dropped {
		return fmt.Errorf("the drop records in the archive report %d drops, the totals of the hours are %v", t.books.Dropped, answer.Totals.Dropped)
	}
	return nil
}

// droppedInLog is a word in the lines that are logged from time to time while responses are being dropped.
const droppedInLog = "dropped"

// fill writes until the disk is full.
func fill(name string) error {
	f, err := os.Create(name)
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

// awaitRecording waits, under traffic, until no more responses are dropped and the books process is applying events again.
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
			return fmt.Errorf("recording has not resumed within a minute after the end of the fault: %+v, %w", before, err)
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return ctx.Err()
}

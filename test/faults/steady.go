package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/test/procfs"
)

const (
	steadyPause = 5 * time.Second // time between two kills

	// Bounds of the steady trial, about three times the normal usage. The books process has a target of 32 MiB
	// (collector.memory_bytes_max), the queue is empty within seconds of each kill, and the store contains the events that the last few
	// jobs have not archived.
	steadyRunBytesMax   = 96 << 20
	steadyBooksBytesMax = 128 << 20
	steadyDiskBytesMax  = 192 << 20
)

// runSteady sends traffic at full speed and kills the books process every five seconds, as many times as the piece has cycles. The
// traffic process is never restarted. The memory of both processes and the disk usage are sampled every second and must stay bounded.
func runSteady(ctx context.Context, l *Lab, p *Piece) error {
	return p.groups(ctx, l, max(1, p.Cycles), func(_ *rand.Rand, _, n int) (Outcome, error) {
		t, err := l.newTrial(steadyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := runAtFullSpeed(ctx, t, n)
		t.end(err != nil)
		p.Remark = o.Note
		return o, err
	})
}

// steadyEnv makes wayside archive and delete continuously, so nothing has to grow.
var steadyEnv = []string{
	"WAYSIDE_ARCHIVE_SCHEDULE=@every 5s", "WAYSIDE_ARCHIVE_AFTER=0s", "WAYSIDE_RETENTION_SCHEDULE=@every 10s",
	"WAYSIDE_RETENTION_EVENTS=0s", "WAYSIDE_DATA_FREE_MIN=0", "WAYSIDE_ARCHIVE_EXPIRE=0",
}

func runAtFullSpeed(ctx context.Context, t *trial, kills int) (o Outcome, err error) {
	if _, err := t.restart(ctx); err != nil {
		return o, err
	}
	t.traffic.step = 1 << 30
	t.startTraffic(ctx, 0)
	var most usage
	var recovery time.Duration
	for range kills {
		for next := time.Now().Add(steadyPause); time.Now().Before(next) && ctx.Err() == nil; sleep(ctx, time.Second) {
			most.sample(t)
		}
		if err := most.beyond(); err != nil {
			return o, err
		}
		took, err := t.killBooksOnce(ctx)
		if err != nil {
			return o, err
		}
		recovery = max(recovery, took)
	}
	if err := t.traffic.stop(); err != nil {
		return o, err
	}
	took := t.traffic.report.Elapsed
	began := time.Now()
	t.settledTimeout = 5 * time.Minute
	o, err = t.audit(ctx)
	most.sample(t)
	o.Recovery = recovery
	failed, failErr := t.failedBeyond(0)
	o.Failed = failed
	o.Note = fmt.Sprintf("%d requests a second for %v; PSS of run at most %d MiB, of collect %d MiB; spool and store at most %d MiB; "+
		"everything applied and read back after %v",
		int(float64(o.Received)/took.Seconds()), took.Round(time.Second), most.run>>20, most.books>>20, most.disk>>20, time.Since(began).Round(time.Second))
	if most.run == 0 || most.books == 0 || most.disk == 0 {
		err = errors.Join(err, errors.New("nothing was measured"))
	}
	return o, errors.Join(err, failErr, most.beyond())
}

// usage is the maximum usage among the samples, in bytes.
type usage struct{ run, books, disk uint64 }

func (u *usage) sample(t *trial) {
	run, _, _ := procfs.PSS(t.w.PID()) // 0 if the process has ended
	books, _, _ := procfs.PSS(t.w.BooksPID())
	u.run, u.books = max(u.run, run), max(u.books, books)
	u.disk = max(u.disk, sizeOf(filepath.Join(t.dataDir, "spool"))+sizeOf(filepath.Join(t.dataDir, "store")))
}

// beyond returns an error that names each bound that was exceeded.
func (u *usage) beyond() error {
	var errs []error
	for _, c := range []struct {
		name      string
		used, max uint64
	}{
		{"PSS of the traffic process", u.run, steadyRunBytesMax},
		{"PSS of the books process", u.books, steadyBooksBytesMax},
		{"spool and store", u.disk, steadyDiskBytesMax},
	} {
		if c.used > c.max {
			errs = append(errs, fmt.Errorf("%s: %d MiB, the bound is %d MiB", c.name, c.used>>20, c.max>>20))
		}
	}
	return errors.Join(errs...)
}

// sizeOf returns the disk usage of the files below a folder in bytes.
func sizeOf(dir string) (sum uint64) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // the file was removed in the meantime
		}
		sum += blocksOf(name)
		return nil
	})
	return sum
}

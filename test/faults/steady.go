package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	steadyPause = 5 * time.Second // between two kills

	// Bounds of the steady trial, about three times what it takes. The books process aims at 32 MiB (collector.memory_bytes_max),
	// the queue empties itself within seconds of each kill, and the store holds what the last few jobs have not archived.
	steadyRunBytesMax   = 96 << 20
	steadyBooksBytesMax = 128 << 20
	steadyDiskBytesMax  = 192 << 20
)

// runSteady goes at full speed and kills the books process every five seconds, for as many cycles as the piece has, all in one
// life of the traffic process. Memory of both processes and disk are sampled each second and must stay bounded.
func runSteady(ctx context.Context, l *Lab, p *Piece) error {
	return p.groups(ctx, l, max(1, p.Cycles), func(_ *rand.Rand, _, n int) (Outcome, error) {
		t, err := l.newTrial(steadyEnv...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := t.steady(ctx, n)
		t.end(err != nil)
		p.Remark = o.Note
		return o, err
	})
}

// steadyEnv archives and deletes all the while, so that nothing has to grow.
var steadyEnv = []string{
	"WAYSIDE_ARCHIVE_SCHEDULE=@every 5s", "WAYSIDE_ARCHIVE_AFTER=0s", "WAYSIDE_RETENTION_SCHEDULE=@every 10s",
	"WAYSIDE_RETENTION_EVENTS=0s", "WAYSIDE_DATA_FREE_MIN=0", "WAYSIDE_ARCHIVE_EXPIRE=0",
}

func (t *trial) steady(ctx context.Context, kills int) (o Outcome, err error) {
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
	t.settleTimeout = 5 * time.Minute
	o, err = t.audit(ctx)
	most.sample(t)
	o.Recovery = recovery
	failed, failErr := t.failedBeyond(0)
	o.Failed = failed
	o.Note = fmt.Sprintf("%d a second for %v; PSS of run at most %d MiB, of collect %d MiB; spool and store at most %d MiB; settled and read back in %v",
		int(float64(o.Received)/took.Seconds()), took.Round(time.Second), most.run>>20, most.books>>20, most.disk>>20, time.Since(began).Round(time.Second))
	if most.run == 0 || most.books == 0 || most.disk == 0 {
		err = errors.Join(err, errors.New("nothing was measured"))
	}
	return o, errors.Join(err, failErr, most.beyond())
}

// usage is the most that was seen, in bytes.
type usage struct{ run, books, disk uint64 }

func (u *usage) sample(t *trial) {
	u.run = max(u.run, proportional(t.w.PID()))
	u.books = max(u.books, proportional(t.w.BooksPID()))
	u.disk = max(u.disk, sizeOf(filepath.Join(t.dataDir, "spool"))+sizeOf(filepath.Join(t.dataDir, "store")))
}

// beyond returns an error that names each bound that was passed.
func (u *usage) beyond() error {
	var errs []error
	for _, c := range []struct {
		what      string
		used, max uint64
	}{
		{"PSS of the traffic process", u.run, steadyRunBytesMax},
		{"PSS of the books process", u.books, steadyBooksBytesMax},
		{"spool and store", u.disk, steadyDiskBytesMax},
	} {
		if c.used > c.max {
			errs = append(errs, fmt.Errorf("%s: %d MiB, bound %d MiB", c.what, c.used>>20, c.max>>20))
		}
	}
	return errors.Join(errs...)
}

// proportional is the PSS of a process in bytes; 0 if it has gone.
func proportional(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// sizeOf is what the files below a folder take on disk, in bytes.
func sizeOf(dir string) (sum uint64) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // removed meanwhile
		}
		sum += blocksOf(name)
		return nil
	})
	return sum
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runSeveral produces several random faults, one after another, on one small filesystem under traffic, because the recovery from one
// fault can need something that another fault has destroyed. The ledger is never damaged: on a full disk, the counts of drops are nowhere
// else, so a damaged ledger, a full disk and a kill together would lose them (docs/GUARANTEES.md).
func runSeveral(ctx context.Context, l *Lab, p *Piece) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		dir, err := l.trialDir()
		if err != nil {
			return Outcome{}, err
		}
		disk, err := newTmpfs(dir, diskMiB)
		if err != nil {
			return Outcome{}, err
		}
		env := quietEnv
		if n%2 == 1 {
			env = busyEnv
		}
		t, err := l.newTrialIn(dir, filepath.Join(disk.at, "data"), append(smallSpoolEnv, env...)...)
		if err != nil {
			return Outcome{}, errors.Join(err, disk.remove())
		}
		m := mixture{trial: t, disk: disk, random: random}
		o, err := m.run(ctx)
		if err != nil {
			o.Note += usageOf(t.dataDir)
			err = fmt.Errorf("%s: %w", o.Note, err)
		}
		_ = t.traffic.stop()
		t.killAll()
		if err != nil {
			_ = os.CopyFS(filepath.Join(dir, "data"), os.DirFS(t.dataDir)) // copied because the disk will be removed
		}
		err = errors.Join(err, disk.remove())
		t.end(err != nil)
		return o, err
	})
}

// mixture is a trial with several faults.
type mixture struct {
	*trial
	disk   *volume
	random *rand.Rand
	made   []string // the faults so far, for the report
	kills  uint64   // number of kills of the traffic process, which break requests
	full   bool     // whether the disk is full
	broken bool     // whether a file has been damaged
}

// severalFaults is the number of faults in one trial.
const severalFaults = 6

func (m *mixture) run(ctx context.Context) (o Outcome, err error) {
	m.lossy = true
	if _, err = m.restart(ctx); err != nil {
		return o, err
	}
	m.startTraffic(ctx, 4000)
	recovery := time.Duration(0)
	for range severalFaults {
		m.awaitTraffic(ctx, 100+uint64(m.random.IntN(2000)), 2*time.Second)
		took, err := m.fault(ctx)
		if o.Note = strings.Join(m.made, ", "); err != nil {
			return o, err
		}
		recovery = max(recovery, took)
	}
	if err := m.free(); err != nil {
		return o, err
	}
	resume(m.w.BooksPID())
	if m.broken { // damage to an open file can go unnoticed until the file is reopened
		m.kills++
		m.killAll()
		took, err := m.restart(ctx)
		if err != nil {
			return o, err
		}
		recovery = max(recovery, took)
		m.awaitTraffic(ctx, 300, 2*time.Second)
	}
	if err := m.traffic.stop(); err != nil {
		return o, err
	}
	note := o.Note
	o, err = m.audit(ctx)
	o.Note, o.Recovery = note, recovery
	failed, failErr := m.failedBeyond(2 * m.kills * connections)
	o.Failed = failed
	if books := m.books; !m.broken && books != nil && books.Dropped != o.Dropped {
		err = errors.Join(err, fmt.Errorf("the drop records in the archive report %d drops, the accounting has %d", books.Dropped, o.Dropped))
	}
	if !m.broken && m.books != nil {
		err = errors.Join(err, m.hourlyDrops(ctx))
	}
	if m.broken && o.Quarantined > 0 {
		err = errors.Join(err, m.reported(o))
	}
	return o, errors.Join(err, failErr)
}

// fault produces one fault. If wayside had to be restarted because of it, fault returns the time until wayside was ready.
func (m *mixture) fault(ctx context.Context) (took time.Duration, err error) {
	note := func(format string, args ...any) { m.made = append(m.made, fmt.Sprintf(format, args...)) }
	wait := func(most int) { sleep(ctx, time.Duration(m.random.IntN(most))*time.Millisecond) }
	switch m.random.IntN(10) {
	case 0:
		note("kill run")
		m.kills++
		m.w.Kill()
		if err := m.free(); err != nil { // after a start on a full disk, counts are only in memory
			return 0, err
		}
		return m.restart(ctx)
	case 1:
		books := m.w.BooksPID()
		if books > 0 {
			note("kill collect")
			kill(books)
		}
	case 2:
		note("terminate")
		m.kills++
		if err := m.free(); err != nil {
			return 0, err
		}
		term(m.w.PID())
		wait(400)
		m.killAll()
		return m.restart(ctx)
	case 3:
		note("stop collect")
		books := m.w.BooksPID()
		pause(books)
		wait(1500)
		resume(books)
	case 4, 5:
		note("fill disk")
		if !m.full {
			m.full = true
			return 0, fill(m.ballast())
		}
	case 6:
		note("free disk")
		return 0, m.free()
	case 7, 8, 9:
		kind := fileKinds[m.random.IntN(len(fileKinds)-4)] // excludes the archive, which is not read again
		if kind == ledgerKind {
			return 0, nil // on a full disk, the counts of drops are only in the ledger
		}
		done, err := m.damage(m.random, kind, m.random.IntN(2) == 0)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOSPC) {
			return 0, nil // the file was drained or compacted in the meantime, or the page was never written because the disk was full
		}
		m.broken = true
		note("%s", done)
		return 0, err
	}
	return 0, nil
}

func (m *mixture) ballast() string { return filepath.Join(m.disk.at, "ballast") }

func (m *mixture) free() error {
	if !m.full {
		return nil
	}
	m.full = false
	return os.Remove(m.ballast())
}

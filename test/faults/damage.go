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
)

// fileKinds lists, as patterns, the kinds of files with contents in a data directory. The archive comes last, because it is read again
// only by readers of the archive and by `wayside verify`.
var fileKinds = []string{
	"spool/*/journal-*.seg", "spool/*/queue*.db", ledgerKind,
	"store/*.sst", "store/*.mem", "store/*.vlog", "store/MANIFEST", "store/DISCARD", "store/KEYREGISTRY", "store/schema",
	"run.json", "store.ledgers", "archive/v1/dt=*/*/*.gz", "archive/v1/dt=*/*/*.json", "archive/v1/stats/*/*/*.gz", "archive/v1/stats/*/*/*.json",
}

const ledgerKind = "spool/*/ledger"

// kinds returns the kinds of files to damage: those selected by Only, or all.
func (l *Lab) kinds() []string {
	var out []string
	for _, kind := range fileKinds {
		if strings.Contains(kind, l.Only) {
			out = append(out, kind)
		}
	}
	if len(out) == 0 {
		return fileKinds
	}
	return out
}

// damageFault flips a bit in a file or truncates the file, either at rest, when no process is running, or in use, under
// traffic.
func damageFault(flip, inUse bool) func(context.Context, *Lab, *Piece) error {
	return func(ctx context.Context, l *Lab, p *Piece) error {
		return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
			place, err := l.takeSlot(ctx, p.Seed, n)
			if err != nil {
				return Outcome{}, err
			}
			defer l.giveSlot(place)
			t, err := l.newTrialFrom(place, quietEnv...)
			if err != nil {
				return Outcome{}, err
			}
			t.lossy = true
			kinds := l.kinds()
			kind := kinds[n%len(kinds)]
			how := damageAtRest
			if inUse {
				how = damageInUse
			}
			t.killsRefill, t.killAfter = n/len(kinds)%2 == 1, time.Duration(random.IntN(400))*time.Millisecond
			o, err := how(ctx, t, random, kind, flip)
			if err != nil {
				err = fmt.Errorf("%s: %w", o.Note, err)
			}
			t.end(err != nil)
			return o, err
		})
	}
}

// damageAtRest damages a file after wayside has been killed, and then starts wayside again. No request may fail.
func damageAtRest(ctx context.Context, t *trial, random *rand.Rand, kind string, flip bool) (o Outcome, err error) {
	if o.Note, err = t.damage(random, kind, flip); err != nil {
		return o, err
	}
	return t.afterDamage(ctx, o, kind)
}

// damageInUse damages a file under traffic; in half of the cycles, the books process is stopped while this happens. wayside then
// continues to run for a while, and is killed and restarted. Only requests that are interrupted by the kill may fail.
func damageInUse(ctx context.Context, t *trial, random *rand.Rand, kind string, flip bool) (o Outcome, err error) {
	if _, err = t.restart(ctx); err != nil {
		return o, err
	}
	t.startTraffic(ctx, 4000)
	t.awaitTraffic(ctx, 200+uint64(random.IntN(600)), 5*time.Second)
	if random.IntN(2) == 0 {
		books := t.w.BooksPID()
		pause(books)
		defer resume(books)
		t.awaitTraffic(ctx, 200, 5*time.Second)
	}
	if o.Note, err = t.damage(random, kind, flip); err != nil {
		return o, err
	}
	resume(t.w.BooksPID())
	t.awaitTraffic(ctx, 300+uint64(random.IntN(600)), 5*time.Second)
	if n := t.traffic.counters.Failed.Load(); n > 0 {
		o.Failed = n
		return o, fmt.Errorf("%d requests failed after the damage", n)
	}
	t.killAll()
	if err := t.traffic.stop(); err != nil {
		return o, err
	}
	return t.afterDamage(ctx, o, kind)
}

// afterDamage starts wayside on the damaged directory, sends traffic to it and audits it.
func (t *trial) afterDamage(ctx context.Context, o Outcome, kind string) (Outcome, error) {
	note, before := o.Note, t.traffic.report.FailedTotal()
	took, err := t.restart(ctx)
	if err != nil {
		return o, err
	}
	t.startTraffic(ctx, 4000)
	if t.killsRefill { // the kill interrupts the refill, or something else that the books process is doing at that moment
		sleep(ctx, t.killAfter)
		t.w.KillBooks()
	}
	t.awaitTraffic(ctx, 400, 5*time.Second)
	o, err = t.auditDamaged(ctx, kind)
	o.Note, o.Recovery = note, took
	if o.Failed = t.traffic.report.FailedTotal() - before; o.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests failed after the damage: %v", o.Failed, t.traffic.report.Errors))
	}
	return o, errors.Join(err, t.reported(o))
}

// reported checks that the quarantine has a report if anything was lost.
func (t *trial) reported(o Outcome) error {
	if o.Dropped+o.Quarantined == 0 {
		return nil
	}
	reports, err := filepath.Glob(filepath.Join(t.dataDir, "quarantine", "*.txt"))
	if err == nil && len(reports) == 0 {
		err = fmt.Errorf("%d dropped and %d quarantined, but no report in the quarantine", o.Dropped, o.Quarantined)
	}
	return err
}

// damage flips one bit in a file of a kind, or truncates the file, and describes what it did.
func (t *trial) damage(random *rand.Rand, kind string, flip bool) (string, error) {
	names, err := filepath.Glob(filepath.Join(t.dataDir, kind))
	if err != nil {
		return "", err
	}
	names = withContent(names)
	if len(names) == 0 {
		return kind + ": there is no such file", nil
	}
	name := names[random.IntN(len(names))]
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	rel := strings.TrimPrefix(name, t.dataDir+"/")
	if !flip {
		at := random.Int64N(used(f, info.Size()))
		return fmt.Sprintf("%s truncated at byte %d of %d", rel, at, info.Size()), f.Truncate(at)
	}
	at, bit := random.Int64N(used(f, info.Size())), random.IntN(8)
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return "", err
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s bit %d of byte %d of %d", rel, bit, at, info.Size()), nil
}

func withContent(names []string) []string {
	var out []string
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Size() > 0 {
			out = append(out, name)
		}
	}
	return out
}

// ledgerUsed is the end of the first copy of the counters in a ledger page.
const ledgerUsed = 128 + 9*8

// used returns the size of the part of a file that contains data, which is at least one byte. Preallocated files end in zeros; damage
// there has little effect. All counters of a ledger are in use, even if they are zero.
func used(f *os.File, size int64) int64 {
	const step = 64 << 10
	buf := make([]byte, step)
	if filepath.Base(f.Name()) == "ledger" {
		return max(1, min(size, ledgerUsed))
	}
	for end := size; end > 0; end -= step {
		from := max(0, end-step)
		n, _ := f.ReadAt(buf[:end-from], from)
		for i := n - 1; i >= 0; i-- {
			if buf[i] != 0 {
				return from + int64(i) + 1
			}
		}
	}
	return max(1, size)
}

// auditDamaged is like audit, for a trial in which the archive may be damaged.
func (t *trial) auditDamaged(ctx context.Context, kind string) (Outcome, error) {
	if strings.HasPrefix(kind, "store/") {
		aside, err := filepath.Glob(filepath.Join(t.dataDir, "quarantine", "*-store.txt"))
		if err != nil {
			return Outcome{}, err
		}
		t.refilled = len(aside) > 0
	}
	if !strings.HasPrefix(kind, "archive/") {
		return t.audit(ctx)
	}
	if err := t.traffic.stop(); err != nil {
		return Outcome{}, err
	}
	settle, cancel := context.WithTimeout(ctx, settledTimeout)
	defer cancel()
	a, err := t.w.AwaitSettled(settle)
	if err == nil && a.DroppedTotal()+a.Quarantined > 0 {
		err = fmt.Errorf("a damaged archive led to %v dropped and %d quarantined responses", a.Dropped, a.Quarantined)
	}
	if checked := t.verified(ctx); !errors.Is(checked, errNotAsPromised) {
		err = errors.Join(err, fmt.Errorf("verify did not find the damage in the archive: %w", checked))
	}
	r := &t.traffic.report
	return Outcome{Requests: r.Sent, Received: r.Received}, err
}

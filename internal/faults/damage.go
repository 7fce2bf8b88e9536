package faults

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

// fileKinds are the kinds of file in a data directory that hold something, as patterns. The archive is apart: nothing reads
// it again but a reader and wayside verify.
var fileKinds = []string{
	"spool/*/journal-*.seg", "spool/*/queue*.db", "spool/*/ledger",
	"store/*.sst", "store/*.mem", "store/*.vlog", "store/MANIFEST", "store/DISCARD", "store/KEYREGISTRY", "store/schema",
	"run.json", "archive/v1/*/*/*.gz", "archive/v1/*/*/*.json",
}

// damageFault flips a bit or cuts off the end of one file: at rest, while nothing runs, or in use, under traffic.
func damageFault(flip, inUse bool) func(context.Context, *Lab, *Piece) error {
	return func(ctx context.Context, l *Lab, p *Piece) error {
		return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
			t, err := l.newTrial(quietEnv...)
			if err != nil {
				return Outcome{}, err
			}
			kind := fileKinds[n%len(fileKinds)]
			o, err := t.damageTrial(ctx, random, kind, flip, inUse)
			if err != nil {
				err = fmt.Errorf("%s: %w", o.Note, err)
			}
			t.end(err != nil)
			return o, err
		})
	}
}

func (t *trial) damageTrial(ctx context.Context, random *rand.Rand, kind string, flip, inUse bool) (o Outcome, err error) {
	if err := t.everyKindOfFile(ctx); err != nil {
		return o, err
	}
	if !inUse {
		t.killAll()
	}
	what, err := t.damage(random, kind, flip)
	if err != nil {
		return o, err
	}
	o.Note = what
	t.lossy = true
	began := time.Now()
	if inUse {
		resume(t.w.BooksPID())
		t.awaitTraffic(ctx, 1000, 5*time.Second)
		t.killAll()
	}
	// Failed requests from here on are the damage's doing, but for those that the kill cut off.
	if err := t.traffic.stop(); err != nil {
		return o, err
	}
	before := t.traffic.report.FailedTotal()
	if _, err := t.restart(ctx); err != nil {
		return o, err
	}
	recovery := time.Since(began)
	t.startTraffic(ctx, 4000)
	t.awaitTraffic(ctx, 1000, 5*time.Second)
	o, err = t.auditDamaged(ctx, kind)
	o.Note, o.Recovery = what, recovery
	if o.Failed = t.traffic.report.FailedTotal() - before; o.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests failed after the damage: %v", o.Failed, t.traffic.report.Errors))
	}
	return o, err
}

// everyKindOfFile leaves a data directory with archived events, tables, a memtable, a queue and a journal that hold events,
// and both processes running, the books process stopped so that the backlog stays.
func (t *trial) everyKindOfFile(ctx context.Context) error {
	if _, err := t.restart(ctx); err != nil {
		return err
	}
	t.startTraffic(ctx, 6000)
	t.awaitTraffic(ctx, 1500, 5*time.Second)
	if err := t.traffic.stop(); err != nil {
		return err
	}
	if err := t.w.Stop(30 * time.Second); err != nil { // tables are written at the end
		return fmt.Errorf("stop: %w", err)
	}
	if _, err := t.restart(ctx); err != nil {
		return err
	}
	t.startTraffic(ctx, 6000)
	t.awaitTraffic(ctx, 1500, 5*time.Second)
	sleep(ctx, 300*time.Millisecond) // some of it gets into the store
	pause(t.w.BooksPID())
	t.awaitTraffic(ctx, 1500, 5*time.Second)
	return nil
}

// damage changes one bit of one file of a kind, or cuts it off somewhere, and says what it did.
func (t *trial) damage(random *rand.Rand, kind string, flip bool) (string, error) {
	names, err := filepath.Glob(filepath.Join(t.dataDir, kind))
	if err != nil {
		return "", err
	}
	names = withContent(names)
	if len(names) == 0 {
		return kind + ": no such file", nil
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
		return fmt.Sprintf("%s cut off at %d of %d", rel, at, info.Size()), f.Truncate(at)
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

// used is the part of a file that holds anything: preallocated files are zeros at their end, where damage says little. At
// least one byte.
func used(f *os.File, size int64) int64 {
	const step = 64 << 10
	buf := make([]byte, step)
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

// auditDamaged is audit for a trial whose archive may be what was damaged.
func (t *trial) auditDamaged(ctx context.Context, kind string) (Outcome, error) {
	if !strings.HasPrefix(kind, "archive/") {
		return t.audit(ctx)
	}
	if err := t.traffic.stop(); err != nil {
		return Outcome{}, err
	}
	settle, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	a, err := t.w.Settle(settle)
	if err == nil && a.DroppedTotal()+a.Quarantined > 0 {
		err = fmt.Errorf("a damaged archive cost %v dropped and %d quarantined", a.Dropped, a.Quarantined)
	}
	if checked := t.verified(ctx); !errors.Is(checked, errNotAsPromised) {
		err = errors.Join(err, fmt.Errorf("verify has not found the damaged archive: %w", checked))
	}
	r := &t.traffic.report
	return Outcome{Requests: r.Sent, Received: r.Received}, err
}

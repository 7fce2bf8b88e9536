package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

// template is the data directory of a wayside that was killed, with every kind of file, and the nonces that were sent to that wayside.
// Damage trials begin with a copy, because creating such a directory takes longer than the rest of the trial.
type template struct {
	dir            string // the data directory
	sent, received *load.Bitmap
	requests       uint64
	next           uint64 // the first nonce that has not been sent
}

// templateUses is the number of cycles that share a template. After that, another template is created with different random choices.
const templateUses = 50

// slot is a folder for one trial at a time, with its own template. A catalogue in an older format contains the path of the local archive,
// so a copy must have the same path as its original.
type slot struct {
	dir  string
	from *template
	uses int
}

// takeSlot returns a free slot with a template. It must be returned with giveSlot.
func (l *Lab) takeSlot(ctx context.Context, seed uint64, cycle int) (*slot, error) {
	l.mu.Lock()
	var s *slot
	if n := len(l.slots); n > 0 {
		s, l.slots = l.slots[n-1], l.slots[:n-1]
	}
	l.mu.Unlock()
	if s == nil {
		dir, err := l.trialDir()
		if err != nil {
			return nil, err
		}
		s = &slot{dir: dir}
	}
	if s.from == nil || s.uses >= templateUses {
		if err := l.fillSlot(ctx, s, newRand(seed, cycle)); err != nil {
			return nil, fmt.Errorf("make a data directory: %w", err)
		}
	}
	s.uses++
	return s, nil
}

// giveSlot frees a slot. If the directory of its last trial was kept, the slot is not reused.
func (l *Lab) giveSlot(s *slot) {
	if _, err := os.Stat(s.dir); err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots = append(l.slots, s)
}

func (l *Lab) fillSlot(ctx context.Context, s *slot, random *rand.Rand) error {
	began := time.Now()
	t, err := l.newTrialIn(s.dir, filepath.Join(s.dir, "data"), quietEnv...)
	if err != nil {
		return err
	}
	if err := t.everyKindOfFile(ctx, 1200+uint64(random.IntN(800))); err != nil {
		t.end(true)
		return err
	}
	t.killAll()
	if err := t.traffic.stop(); err != nil {
		return err
	}
	s.uses, s.from = 0, &template{
		dir: s.dir + "-template", next: t.traffic.next, requests: t.traffic.report.Sent,
		sent: &t.traffic.sent, received: &t.traffic.received,
	}
	if err := errors.Join(os.RemoveAll(s.from.dir), os.Rename(t.dataDir, s.from.dir), os.RemoveAll(s.dir)); err != nil {
		return err
	}
	l.progress("made a data directory for the next %d cycles in %v", templateUses, time.Since(began).Round(10*time.Millisecond))
	return nil
}

// newTrialFrom prepares a trial on a copy of the slot's template.
func (l *Lab) newTrialFrom(s *slot, env ...string) (*trial, error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	t, err := l.newTrialIn(s.dir, filepath.Join(s.dir, "data"), env...)
	if err != nil {
		return nil, err
	}
	if err := command("cp", "-a", s.from.dir, t.dataDir); err != nil {
		return nil, err
	}
	t.traffic.sent.Add(s.from.sent)
	t.traffic.received.Add(s.from.received)
	t.traffic.next = s.from.next
	t.traffic.report.Sent = s.from.requests
	return t, nil
}

// everyKindOfFile creates a data directory with archived events, tables, a memtable, and a queue and a journal with events, with about n
// responses in each. Both processes still exist afterwards; the books process is stopped with SIGSTOP, so the backlog stays.
func (t *trial) everyKindOfFile(ctx context.Context, n uint64) error {
	if _, err := t.restart(ctx); err != nil {
		return err
	}
	t.startTraffic(ctx, 6000)
	t.awaitTraffic(ctx, n, 5*time.Second)
	if err := t.traffic.stop(); err != nil {
		return err
	}
	if err := t.w.Stop(30 * time.Second); err != nil { // Stop writes the tables
		return fmt.Errorf("stop: %w", err)
	}
	if _, err := t.restart(ctx); err != nil {
		return err
	}
	t.startTraffic(ctx, 6000)
	t.awaitTraffic(ctx, n, 5*time.Second)
	sleep(ctx, 300*time.Millisecond) // part of the traffic must reach the store
	pause(t.w.BooksPID())
	t.awaitTraffic(ctx, n, 5*time.Second)
	return nil
}

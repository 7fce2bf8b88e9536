package books

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/uploader"
)

// TestRefill damages stores at random. The next store starts empty, takes the events from the spool, and is refilled from the archive until it
// has everything that the archive has: without traffic, killed after any object, or while traffic is being applied and archived.
func TestRefill(t *testing.T) {
	for seed := range trials(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := newRefillRig(t, seed)
			dir := g.history()
			g.damage(dir)
			l := g.open(dir)
			if !l.store.RefillDue() {
				t.Fatal("no refill is due")
			}
			switch seed % 3 {
			case 0:
				g.drain(l)
				if seed%2 == 0 { // archiving imports objects of the lost store that contain events which are pending here
					g.archive(l)
				}
			case 1:
				l = g.refillKilled(l)
			case 2:
				g.refillUnderTraffic(l)
			}
			g.must(l.fillAgain(t.Context()))
			if s := l.refillState(); !s.OK || l.store.RefillDue() {
				t.Errorf("%+v", s)
			}
			g.complete(l)
			g.end(l)
			l = g.open(l.dir)
			g.promises(l)
			g.end(l)
		})
	}
}

// refillKilled refills one object after another, each in its own life.
func (g *refillRig) refillKilled(l *life) *life {
	g.t.Helper()
	for range 4 {
		if g.r.IntN(2) == 0 {
			g.request(l, 30)
		}
		g.drain(l)
		ctx, cancel := context.WithCancel(g.t.Context())
		before := g.promises(l)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = l.fillAgain(ctx)
		}()
		for a := before; l.store.RefillDue() && a.Applied == before.Applied; a = g.promises(l) {
		}
		cancel()
		<-done
		dir := g.killed(l)
		g.end(l)
		l = g.open(dir)
	}
	g.drain(l)
	return l
}

// refillUnderTraffic refills while responses are being recorded, applied and archived.
func (g *refillRig) refillUnderTraffic(l *life) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	var loops sync.WaitGroup
	loops.Go(func() { _ = l.collector.Run(ctx) })
	loops.Go(func() { _ = l.fillAgain(ctx) })
	for range 10 {
		g.request(l, 40)
		if _, err := l.uploader.ArchiveOnce(ctx, true); err != nil {
			g.t.Error(err)
		}
	}
	for l.store.RefillDue() {
		time.Sleep(time.Millisecond)
	}
	cancel()
	loops.Wait()
}

// away is an unreachable archive.
type away struct{ uploader.Target }

var errAway = errors.New("the archive is away")

func (away) List(context.Context, string, func(uploader.ObjectInfo) error) error { return errAway }
func (away) Get(context.Context, string) (io.ReadCloser, map[string]string, error) {
	return nil, nil, errAway
}

// TestRefillWaitsForTheArchive: while the archive cannot be reached, the refill reports that and counts nothing. Afterwards it continues by
// itself.
func TestRefillWaitsForTheArchive(t *testing.T) {
	g := newRefillRig(t, 3)
	dir := g.history()
	g.damage(dir)
	l := g.open(dir)
	g.drain(l)
	there := l.targets
	l.targets = uploader.NewTargets(away{there.Current()}, uploader.TargetOptions{})
	before := g.promises(l)
	if n, err := l.refillOnce(t.Context()); n != 0 || !errors.Is(err, errAway) {
		t.Fatal(n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.fillAgain(ctx) }()
	for l.refillState().OK {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if s := l.refillState(); !strings.Contains(s.Detail, "the archive is away") {
		t.Error(s.Detail)
	}
	if a := g.promises(l); a.Applied != before.Applied || a.Quarantined != before.Quarantined {
		t.Errorf("%+v, then %+v", before, a)
	}
	l.targets = there
	g.must(l.fillAgain(t.Context()))
	g.complete(l)
	g.end(l)
}

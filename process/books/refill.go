package books

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// After a store has been damaged, a new one starts empty and is refilled from the archive's statistics objects while everything else
// continues: newest hours first, one object at a time. [store.Store.Refill] ensures that nothing is counted twice, no matter when the
// process ends. docs/adr/0085-refill.md gives the reasons for this design.

// The pauses between attempts of a refill that cannot continue, and the time limit for one object.
const (
	refillPauseMin = time.Second
	refillPauseMax = time.Minute
	refillTimeMax  = 15 * time.Minute
)

// refill is the state of the refill.
type refill struct {
	mu       sync.Mutex
	status   collector.RefillStatus // guarded by mu
	objects  uint64                 // guarded by mu: number of objects that this process has read
	failures uint64                 // guarded by mu: number of attempts that failed
}

func (r *refill) set(fn func(*refill)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(r)
}

// refillStatus returns the state of the refill, or nil if none is due and this process has done none.
func (b *books) refillStatus() *collector.RefillStatus {
	b.refill.mu.Lock()
	defer b.refill.mu.Unlock()
	s := b.refill.status
	if s.Due = b.store.RefillDue(); !s.Due && s.Objects == 0 {
		return nil
	}
	return &s
}

// keepFilled refills the store whenever a refill is due, until ctx is done.
func (b *books) keepFilled(ctx context.Context) error {
	for {
		if err := b.fillAgain(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.store.RefillBecameDue():
		}
	}
}

// fillAgain refills the store, if a refill is due, until everything possible has been refilled or ctx is done.
func (b *books) fillAgain(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = refillPauseMin, refillPauseMax
	for said := ""; b.store.RefillDue(); {
		done, err := b.refillOnce(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		b.refill.set(func(r *refill) { r.status.Waiting = err.Error() })
		if done > 0 || errors.Is(err, errNotReady) {
			pause.Reset()
		}
		if !errors.Is(err, errNotReady) {
			b.refill.set(func(r *refill) { r.failures++ })
			if err.Error() != said {
				said = err.Error()
				b.log.Warn("cannot refill older hours from the archive; wayside will try again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause.NextBackOff()):
		}
	}
	return nil
}

// errNotReady means that the drain loop has not yet begun to apply the events in the spool.
var errNotReady = errors.New("waiting until the events in the spool begin to be applied")

// errEmpty means that the archive is empty. The error can no longer occur after this store has archived something.
var errEmpty = errors.New("the archive is empty: nothing has been archived yet, or it is not mounted")

// refillOnce refills until nothing is left or an error occurs. It returns the number of objects that are done.
func (b *books) refillOnce(ctx context.Context) (done int, err error) {
	if !b.collector.ReadyToRefill() {
		return 0, errNotReady
	}
	f := &filling{books: b, known: collector.NewKnownRows(), entries: map[string]reader.Entry{}}
	missing, err := reader.FindMissing(ctx, b.targets.Current(), reader.RefillOptions{
		Service: b.cfg.Service, Instance: b.cfg.Instance, Wanted: b.store.Refillable, MinutesFrom: b.store.MinutesFrom(),
		Entries: func() (map[string]reader.Entry, error) { return f.entries, plansOf(ctx, b.store, f.enter) },
	})
	if err != nil {
		return 0, fmt.Errorf("list the archive: %w", err)
	}
	if missing.Empty {
		return 0, errEmpty
	}
	b.refill.set(func(r *refill) {
		r.status = collector.RefillStatus{Objects: missing.Len(), Responses: r.status.Responses}
	})
	if missing.Len() > 0 {
		b.log.Info("refilling older hours from the archive", "objects", missing.Len())
	}
	for i := range missing.Len() {
		if i > 0 && !missing.Object(i).Hour.Equal(missing.Object(i-1).Hour) {
			if err := f.endHour(ctx); err != nil {
				return i, err
			}
		}
		if err := f.one(ctx, missing, i); err != nil {
			return i, err
		}
	}
	if err := f.endHour(ctx); err != nil {
		return missing.Len(), err
	}
	return missing.Len(), b.endRefill()
}

// endRefill records that everything possible has been refilled.
func (b *books) endRefill() error {
	if err := b.store.EndRefill(); err != nil {
		return err
	}
	s := b.refillStatus()
	if s == nil {
		b.log.Info("the archive has no objects from the lost store; there is nothing to refill")
		return nil
	}
	b.log.Info("older hours have been refilled from the archive", "objects", s.ObjectsDone, "responses", s.Responses, "problems", s.Problems)
	return nil
}

// filling is one attempt at a refill.
type filling struct {
	*books
	entries map[string]reader.Entry // the catalogue's entries, by key
	last    uint64                  // the largest ID in the catalogue
	known   *collector.KnownRows
	fresh   bool // whether known has rows that the path table has not learned yet
}

// enter adds a plan from the catalogue to f.entries.
func (f *filling) enter(p *catalogue.Plan) error {
	f.entries[p.Key] = reader.EntryOf(p)
	f.last = max(f.last, p.ID)
	return nil
}

// one refills from one object. A fault in the object is logged and does not stop the refill.
func (f *filling) one(ctx context.Context, missing *reader.Missing, i int) error {
	if state := f.collector.Status().State; strings.HasPrefix(state, "paused") {
		return errors.New("applying is " + state)
	}
	object := missing.Object(i)
	problem := func(err error) {
		f.log.Warn("cannot refill from an archive object; its responses stay quarantined", "key", object.Key, "error", err)
		f.refill.set(func(r *refill) { r.status.Problems++ })
	}
	limited, cancel := context.WithTimeout(ctx, refillTimeMax)
	defer cancel()
	c, err := missing.Read(limited, i)
	if reader.Skippable(err) {
		problem(err)
		err = nil
	} else if err == nil {
		err = f.count(ctx, c, object.Last)
		if errors.Is(err, store.ErrNotRefillable) {
			problem(err)
			err = nil
		}
	}
	if err != nil {
		return err
	}
	f.refill.set(func(r *refill) {
		r.objects++
		r.status.ObjectsDone++
		r.status.Hour = object.Hour
	})
	return nil
}

// count adds an object's rows to the store while no job is changing the catalogue.
func (f *filling) count(ctx context.Context, c *reader.Contribution, last uint64) error {
	for _, p := range c.Problems {
		f.log.Warn("refilled from an archive object despite a problem with it", "key", p.Key, "error", p.What)
	}
	err := f.uploader.Alone(ctx, func() error {
		if err := f.store.ImportedAfter(ctx, f.last, f.enter); err != nil {
			return err
		}
		r := &store.Refill{Plan: c.Plan, Last: last, Keys: c.Keys, Rows: c.Rows, Minutes: c.Minutes, Drops: c.Drops}
		r.Plan.VerifiedAt = time.Now().UTC()
		r.Plan.ID = f.entries[c.Plan.Key].ID
		return f.collector.Refill(ctx, r)
	})
	if err != nil {
		return err
	}
	f.fresh = f.known.Add(c.Keys, c.Rows) || f.fresh
	f.refill.set(func(r *refill) {
		for _, row := range c.Rows {
			r.status.Responses += row.Count
		}
	})
	return nil
}

// endHour makes the path table learn the rows of an hour if any of them has a name that did not occur in later hours (these are refilled
// first).
func (f *filling) endHour(ctx context.Context) error {
	if !f.fresh {
		return nil
	}
	f.fresh = false
	return f.collector.Relearn(ctx, f.known)
}

// refillState returns the refill's line in /readyz?verbose.
func (b *books) refillState() admin.State {
	s := b.refillStatus()
	switch {
	case s == nil:
		return admin.State{OK: true, Detail: "no refill is due"}
	case s.Due && s.Waiting != "":
		return admin.State{Detail: "the store was damaged and set aside, and older hours cannot be refilled from the archive now: " + s.Waiting}
	case s.Due:
		return admin.State{OK: true, Detail: fmt.Sprintf("older hours are being refilled from the archive: %d of %s, %s so far",
			s.ObjectsDone, terminal.Counted(s.Objects, "object"), terminal.Counted(s.Responses, "response"))}
	}
	return admin.State{OK: s.Problems == 0, Detail: fmt.Sprintf("done: %s from %s, %s",
		terminal.Counted(s.Responses, "response"), terminal.Counted(s.ObjectsDone, "object"), terminal.Counted(s.Problems, "problem"))}
}

// refillMetrics registers the metrics of the refill.
func (b *books) refillMetrics(registry *prometheus.Registry) {
	add := func(name, help string, value func(due bool, r *refill) int) {
		read := func() (v float64) {
			due := b.store.RefillDue()
			b.refill.set(func(r *refill) { v = float64(value(due, r)) })
			return v
		}
		if name = "wayside_refill_" + name; strings.HasSuffix(name, "_total") {
			registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
			return
		}
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	add("due", "1 while a store that replaced a damaged one has not been completely refilled from the archive.", func(due bool, _ *refill) int {
		if due {
			return 1
		}
		return 0
	})
	add("objects_left", "Archive objects that the refill still has to read.", func(_ bool, r *refill) int { return r.status.Objects - r.status.ObjectsDone })
	add("problems", "Archive objects that could not be refilled.", func(_ bool, r *refill) int { return r.status.Problems })
	add("objects_total", "Archive objects that the refill has read in this process.", func(_ bool, r *refill) int { return int(r.objects) })
	add("responses_total", "Responses that the refill has counted in this process.", func(_ bool, r *refill) int { return int(r.status.Responses) })
	add("failures_total", "Failed attempts at a refill; each is followed by another attempt.", func(_ bool, r *refill) int { return int(r.failures) })
}

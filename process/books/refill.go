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

// A store that began empty because the one before it was damaged is filled again from the archive, beside everything else: the newest
// hours first, an object at a time, out of the statistics objects. [store.Store.Refill] sees to it that nothing is counted twice,
// whenever the process ends. ADR 85.

// Pauses of a refill that cannot go on, and the longest time that one object may take.
const (
	refillPauseMin = time.Second
	refillPauseMax = time.Minute
	refillTimeMax  = 15 * time.Minute
)

// refill is the state of the refill.
type refill struct {
	mu       sync.Mutex
	status   collector.RefillStatus // guarded by mu
	objects  uint64                 // guarded by mu: read by this process
	failures uint64                 // guarded by mu: attempts that ended with an error
}

func (r *refill) set(fn func(*refill)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(r)
}

// refillStatus returns the state of the refill; nil if none is due and this process made none.
func (b *books) refillStatus() *collector.RefillStatus {
	b.refill.mu.Lock()
	defer b.refill.mu.Unlock()
	s := b.refill.status
	if s.Due = b.store.RefillDue(); !s.Due && s.Objects == 0 {
		return nil
	}
	return &s
}

// fillAgain refills the store, if that is due, until everything has been refilled that can be, or ctx is done.
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
				b.log.Warn("older hours cannot be brought back from the archive now; trying again", "error", err)
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

// errNotReady says that the drain loop has not come far enough.
var errNotReady = errors.New("waiting until the events in the spool begin to be applied")

// errEmpty says that the archive has nothing. Something is there as soon as this store archives.
var errEmpty = errors.New("the archive is empty: nothing was archived yet, or it is not mounted")

// refillOnce refills until nothing is left, or until something stands in the way, and returns how many objects it has done.
func (b *books) refillOnce(ctx context.Context) (done int, err error) {
	if !b.collector.ReadyToRefill() {
		return 0, errNotReady
	}
	f := &filling{books: b, known: collector.NewKnownRows(), entries: map[string]reader.Entry{}}
	missing, err := reader.FindMissing(ctx, b.targets.Current(), reader.RefillOptions{
		Service: b.cfg.Service, Instance: b.cfg.Instance, Wanted: b.store.Refillable,
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
		b.log.Info("older hours are being brought back from the archive", "objects", missing.Len())
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

// endRefill notes that all is back that can be.
func (b *books) endRefill() error {
	if err := b.store.EndRefill(); err != nil {
		return err
	}
	s := b.refillStatus()
	if s == nil {
		b.log.Info("the archive has nothing of the store that was lost")
		return nil
	}
	b.log.Info("older hours are back from the archive", "objects", s.ObjectsDone, "responses", s.Responses, "problems", s.Problems)
	return nil
}

// filling is one attempt at a refill.
type filling struct {
	*books
	entries map[string]reader.Entry // of the catalogue, by key
	last    uint64                  // the largest ID among them
	known   *collector.KnownRows
	fresh   bool // known has grown since the path table learnt from it
}

// enter notes an entry of the catalogue.
func (f *filling) enter(p *catalogue.Plan) error {
	f.entries[p.Key] = reader.EntryOf(p)
	f.last = max(f.last, p.ID)
	return nil
}

// one refills from one object. What is wrong with the object alone is noted, and the others go on.
func (f *filling) one(ctx context.Context, missing *reader.Missing, i int) error {
	if state := f.collector.Status().State; strings.HasPrefix(state, "paused") {
		return errors.New("applying is " + state)
	}
	object := missing.Object(i)
	problem := func(err error) {
		f.log.Warn("an archive object cannot be brought back; its responses stay quarantined", "key", object.Key, "error", err)
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

// count counts what an object adds, while no job enters objects into the catalogue.
func (f *filling) count(ctx context.Context, c *reader.Contribution, last uint64) error {
	for _, p := range c.Problems {
		f.log.Warn("an archive object was brought back, although something is wrong with it", "key", p.Key, "error", p.What)
	}
	err := f.uploader.Alone(ctx, func() error {
		if err := f.store.ImportedAfter(ctx, f.last, f.enter); err != nil {
			return err
		}
		r := &store.Refill{Plan: c.Plan, Last: last, Keys: c.Keys, Rows: c.Rows, Told: c.Told}
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

// endHour has the path table learn from the hour's rows, if any has a name that no later hour had.
func (f *filling) endHour(ctx context.Context) error {
	if !f.fresh {
		return nil
	}
	f.fresh = false
	return f.collector.Relearn(ctx, f.known)
}

// refillState is the line of the refill in /readyz?verbose.
func (b *books) refillState() admin.State {
	s := b.refillStatus()
	switch {
	case s == nil:
		return admin.State{OK: true, Detail: "none is due"}
	case s.Due && s.Waiting != "":
		return admin.State{Detail: "the store was damaged and set aside, and older hours cannot be brought back from the archive now: " + s.Waiting}
	case s.Due:
		return admin.State{OK: true, Detail: fmt.Sprintf("older hours are still coming back from the archive: %d of %s, %s so far",
			s.ObjectsDone, terminal.Counted(s.Objects, "object"), terminal.Counted(s.Responses, "response"))}
	}
	return admin.State{OK: s.Problems == 0, Detail: fmt.Sprintf("done: %s back from %s, %s",
		terminal.Counted(s.Responses, "response"), terminal.Counted(s.ObjectsDone, "object"), terminal.Counted(s.Problems, "problem"))}
}

// refillMetrics registers the figures of the refill.
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
	add("due", "1 while hours that a damaged store had are still to come back from the archive.", func(due bool, _ *refill) int {
		if due {
			return 1
		}
		return 0
	})
	add("objects_left", "Archive objects that are still to be read for it.", func(_ bool, r *refill) int { return r.status.Objects - r.status.ObjectsDone })
	add("problems", "Archive objects that could not be brought back.", func(_ bool, r *refill) int { return r.status.Problems })
	add("objects_total", "Archive objects that this process has read for it.", func(_ bool, r *refill) int { return int(r.objects) })                   //nolint:gosec // far below
	add("responses_total", "Responses that this process has brought back.", func(_ bool, r *refill) int { return int(r.status.Responses) })             //nolint:gosec // far below
	add("failures_total", "Attempts that ended with an error, after which it was tried again.", func(_ bool, r *refill) int { return int(r.failures) }) //nolint:gosec // far below
}

package failing

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/memfault"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Source provides statistics. The store implements it.
type Source interface {
	// AddMinutes adds the rows of the minutes [from, to) to the rows that rowsOf returns for a name and a minute.
	AddMinutes(ctx context.Context, from, to int64, rowsOf func(stats.Key) func(minute int64) *stats.Row) error
	// Sums calls fn with every row name of the hours [fromHour, toHour) and the sum of its rows.
	Sums(ctx context.Context, fromHour, toHour int64, fn func(stats.Key, *stats.Row) error) error
	// MinutesFrom is the first minute that is kept.
	MinutesFrom() int64
}

// CheckInterval is the time between checks in Run.
const CheckInterval = 5 * time.Second

// IncidentsMax is the maximum number of incidents that are kept.
const IncidentsMax = 1000

// Options configure a Watch.
type Options struct {
	Source Source // required
	// Rules returns the rules that merge rows counted before their template was learned; nil: none.
	Rules func() *paths.Rules
	// Applied returns a number that changes whenever responses are applied. If it is nil, each check assumes that responses have been
	// applied.
	Applied func() uint64
	Now     func() time.Time // nil means clock.Now
	Logger  *slog.Logger     // nil means slog.Default
}

// Watch finds incidents. Report may be called at any time. Only one goroutine may call Check and Run.
type Watch struct {
	o       Options
	applied uint64 // the result of Options.Applied at the last check
	rules   *paths.Rules
	usual   usuals
	windows map[stats.Key]*window
	cases   map[name]*incident

	mu     sync.Mutex
	report Report // guarded by mu
}

// New returns a Watch that has not checked anything yet.
func New(o Options) *Watch {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Rules == nil {
		o.Rules = func() *paths.Rules { return nil }
	}
	return &Watch{o: o, windows: map[stats.Key]*window{}, cases: map[name]*incident{}}
}

// Run checks every [CheckInterval] until ctx is done. An error that persists is logged only the first time; each check tries again.
func (w *Watch) Run(ctx context.Context) {
	ticker := time.NewTicker(CheckInterval)
	defer ticker.Stop()
	failed := false
	for {
		err := memfault.CatchError(func() error { return w.checkIfNeeded(ctx) })
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			w.o.Logger.Warn("cannot check which paths are failing; trying again", "error", err)
		}
		failed = err != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// checkIfNeeded runs a check, unless nothing has changed since the last one and nothing is failing.
func (w *Watch) checkIfNeeded(ctx context.Context) error {
	if w.o.Applied != nil {
		applied := w.o.Applied()
		if applied == w.applied && len(w.cases) == 0 && w.usual.rows != nil {
			w.publish(w.o.Now())
			return nil
		}
		w.applied = applied
	}
	return w.Check(ctx)
}

// Check compares the last few minutes with the usual figures.
func (w *Watch) Check(ctx context.Context) error {
	now := w.o.Now()
	minute := stats.MinuteOf(now)
	rules := w.o.Rules()
	named := func(k stats.Key) stats.Key {
		k.Hour, k.Label = 0, rules.Label(k.Host, k.Label)
		return k
	}
	if rules != w.rules && minute != w.usual.readAt { // rows have new names
		w.rules, w.usual.rows = rules, nil
	}
	if err := w.usual.refresh(ctx, w.o.Source, named, minute); err != nil {
		return err
	}
	if err := w.readWindows(ctx, named, minute); err != nil {
		return err
	}
	for k, window := range w.windows {
		common := w.usualOf(k)
		if failing(window, common) {
			w.begin(name{k, Errors}, common)
		}
		if slower(window, common) {
			w.begin(name{k, Slow}, common)
		}
	}
	err := w.follow(ctx, named, minute)
	w.publish(now)
	return err
}

// begin adds an incident, unless it is already known.
func (w *Watch) begin(n name, common *usual) {
	if w.cases[n] == nil && len(w.cases) < IncidentsMax {
		w.cases[n] = &incident{name: n, usual: *common}
	}
}

// readWindows reads the last few minutes of all rows.
func (w *Watch) readWindows(ctx context.Context, named func(stats.Key) stats.Key, minute int64) error {
	clear(w.windows)
	first := minute - windowMinutes + 1
	var c counter
	err := w.o.Source.AddMinutes(ctx, first, minute+1, func(k stats.Key) func(int64) *stats.Row {
		k = named(k)
		of := w.windows[k]
		if of == nil {
			of = new(window)
			w.windows[k] = of
		}
		slowMicros := w.usualOf(k).slowMicros
		return func(minute int64) *stats.Row { return c.into(&of[minute-first], slowMicros) }
	})
	c.flush()
	return err
}

// usualOf returns the usual figures of a row. During an incident, these are the figures from before the incident.
func (w *Watch) usualOf(k stats.Key) *usual {
	for _, kind := range []Kind{Slow, Errors} {
		if of := w.cases[name{k, kind}]; of != nil {
			return &of.usual
		}
	}
	return w.usual.of(k)
}

// counter adds rows to cells, one cell after another.
type counter struct {
	row        stats.Row // the part that has not been added to its cell yet
	to         *cell
	slowMicros uint64
}

// into returns a row whose responses will be counted in a cell.
func (c *counter) into(to *cell, slowMicros uint64) *stats.Row {
	c.flush()
	c.to, c.slowMicros = to, slowMicros
	return &c.row
}

func (c *counter) flush() {
	if c.to != nil {
		c.to.count += uint32(min(c.row.Count, 1<<31))
		c.to.errors += uint32(min(c.row.Errors, 1<<31))
		if c.slowMicros > 0 {
			c.to.slow += uint32(min(c.row.Latency.AtLeast(c.slowMicros), 1<<31))
		}
	}
	c.row.Reset()
	c.to = nil
}

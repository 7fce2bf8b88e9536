package failing

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/internal/stats"
)

// Kind is the kind of problem that a path has.
type Kind string

// Kinds.
const (
	Errors Kind = "errors" // the path is failing
	Slow   Kind = "slow"   // the path is slower than usual
)

type name struct {
	key  stats.Key
	kind Kind
}

// incident is a row that is currently failing or slow.
type incident struct {
	name
	usual usual // before the incident

	known   bool    // whether since has been determined
	since   int64   // the first minute
	during  float64 // share of bad responses when the incident was noticed
	before  cell64  // responses of the minutes [since, counted)
	counted int64

	latency stats.Row // latency in the last few minutes; only for kind Slow
}

// cell64 is like cell, but for a longer time.
type cell64 struct{ count, bad uint64 }

func (i *incident) bad(c cell) uint32 {
	if i.kind == Slow {
		return c.slow
	}
	return c.errors
}

// common returns the usual share of bad responses.
func (i *incident) common() float64 {
	if i.kind == Slow {
		return share(i.usual.slow, i.usual.timed)
	}
	return share(i.usual.errors, i.usual.count)
}

// worst returns the largest share of bad responses in any of the windows.
func (i *incident) worst(w *window) (most float64) {
	for _, rule := range errorWindows {
		if sum := w.last(rule.minutes); sum.count >= errorsMin {
			most = max(most, share(uint64(i.bad(sum)), uint64(sum.count)))
		}
	}
	return most
}

// follow brings the incidents up to date, and ends those that are over.
func (w *Watch) follow(ctx context.Context, named func(stats.Key) stats.Key, minute int64) error {
	first := minute - windowMinutes + 1
	var unknown, behind, slow []*incident
	for n, of := range w.cases {
		window := w.windowOf(n.key)
		switch {
		case !of.known:
			of.during = of.worst(window)
			unknown = append(unknown, of)
		case recovered(window, of.bad, of.during, of.common()):
			delete(w.cases, n)
			continue
		}
		if of.kind == Slow {
			slow = append(slow, of)
		}
	}
	if err := w.findBeginnings(ctx, named, unknown, minute); err != nil {
		return err
	}
	for _, of := range w.cases {
		if of.counted < first {
			behind = append(behind, of)
		}
	}
	if err := w.count(ctx, named, behind, first); err != nil {
		return err
	}
	return w.time(ctx, named, slow, first, minute+1)
}

func (w *Watch) windowOf(k stats.Key) *window {
	if of := w.windows[k]; of != nil {
		return of
	}
	return new(window)
}

// beginningMinutes is the number of minutes that are read at a time in the search for the beginning of an incident.
const beginningMinutes = 60

// findBeginnings finds the first minute of each incident: the earliest bad minute that is not followed by a good period.
func (w *Watch) findBeginnings(ctx context.Context, named func(stats.Key) stats.Key, cases []*incident, minute int64) error {
	searches := make(map[*incident]*search, len(cases))
	for _, of := range cases {
		of.since = minute
		searches[of] = &search{of: of}
	}
	oldest := max(w.o.Source.MinutesFrom(), minute-usualHours*stats.HourMinutes)
	for to := minute + 1; to > oldest && len(searches) > 0; to -= beginningMinutes {
		from := max(to-beginningMinutes, oldest)
		cells, err := w.cells(ctx, named, slices.Collect(maps.Keys(searches)), from, to)
		if err != nil {
			return err
		}
		for of, s := range searches {
			if s.back(cells[of], from) {
				delete(searches, of)
			}
		}
	}
	for _, of := range cases {
		of.known, of.counted = true, of.since
	}
	return nil
}

// search looks for the beginning of an incident, going backwards from the present.
type search struct {
	of   *incident
	good cell64 // responses of the minutes before of.since that have been examined
}

// back continues the search in earlier minutes: cells[0] has the minute from. It reports whether the beginning has been found.
func (s *search) back(cells []cell, from int64) bool {
	of := s.of
	least := max(2*of.common(), of.during/6)
	for i := len(cells) - 1; i >= 0; i-- {
		c := cells[i]
		if c.count == 0 {
			continue
		}
		if bad := of.bad(c); bad > 0 && share(uint64(bad), uint64(c.count)) >= least {
			of.since, s.good = from+int64(i), cell64{}
			continue
		}
		s.good.count += uint64(c.count)
		s.good.bad += uint64(of.bad(c))
		if 1-tail(s.good.bad+1, s.good.count, of.during) < recoveredChance {
			return true
		}
	}
	return false
}

// cells reads the minutes [from, to) of the rows that have incidents.
func (w *Watch) cells(ctx context.Context, named func(stats.Key) stats.Key, cases []*incident, from, to int64) (map[*incident][]cell, error) {
	out := make(map[*incident][]cell, len(cases))
	of := map[stats.Key][]cell{}
	slowMicros := map[stats.Key]uint64{}
	for _, i := range cases {
		if of[i.key] == nil {
			of[i.key] = make([]cell, to-from)
		}
		out[i] = of[i.key]
		slowMicros[i.key] = w.usualOf(i.key).slowMicros
	}
	if len(cases) == 0 || from >= to {
		return out, nil
	}
	var c counter
	err := w.o.Source.AddMinutes(ctx, from, to, func(k stats.Key) func(int64) *stats.Row {
		k = named(k)
		cells := of[k]
		if cells == nil {
			return nil
		}
		return func(minute int64) *stats.Row { return c.into(&cells[minute-from], slowMicros[k]) }
	})
	c.flush()
	return out, err
}

// count adds the minutes that have ended and are no longer in the window to their incidents.
func (w *Watch) count(ctx context.Context, named func(stats.Key) stats.Key, cases []*incident, first int64) error {
	if len(cases) == 0 {
		return nil
	}
	from := first
	for _, of := range cases {
		from = min(from, of.counted)
	}
	cells, err := w.cells(ctx, named, cases, from, first)
	if err != nil {
		return err
	}
	for _, of := range cases {
		for _, c := range cells[of][of.counted-from:] {
			of.before.count += uint64(c.count)
			of.before.bad += uint64(of.bad(c))
		}
		of.counted = first
	}
	return nil
}

// time reads the latency of slow paths.
func (w *Watch) time(ctx context.Context, named func(stats.Key) stats.Key, cases []*incident, from, to int64) error {
	if len(cases) == 0 {
		return nil
	}
	of := make(map[stats.Key]*incident, len(cases))
	for _, i := range cases {
		of[i.key] = i
		i.latency.Reset()
	}
	return w.o.Source.AddMinutes(ctx, from, to, func(k stats.Key) func(int64) *stats.Row {
		i := of[named(k)]
		if i == nil {
			return nil
		}
		var rest stats.Row
		return func(minute int64) *stats.Row {
			if minute < i.since {
				rest.Reset()
				return &rest
			}
			return &i.latency
		}
	})
}

// Incident is a path that is currently failing or slower than usual.
type Incident struct {
	Kind   Kind      `json:"kind"` // "errors" or "slow"
	Host   string    `json:"host"`
	Method string    `json:"method"`
	Path   string    `json:"path"` // template, or "(other)"
	Route  string    `json:"route,omitempty"`
	Since  time.Time `json:"since"` // the beginning of the first bad minute
	From   time.Time `json:"from"`  // start of Count, Bad and Share: five minutes ago, or Since if that is later
	Count  uint64    `json:"count"` // responses
	Bad    uint64    `json:"bad"`   // number of these that are errors, or, for "slow", that took at least twice the usual p95
	Share  float64   `json:"share"` // Bad ÷ Count
	// UsualShare is the share among the UsualCount responses before the incident. If UsualCount is 0, the path is new.
	UsualShare float64 `json:"usual_share"`
	UsualCount uint64  `json:"usual_count"`
	P95        uint64  `json:"p95_us,omitempty"`       // p95 of the responses since From; only for "slow"
	UsualP95   uint64  `json:"usual_p95_us,omitempty"` // only for "slow"
	Affected   uint64  `json:"affected"`               // number of errors or slow responses since the incident began
}

// Report is the result of the last check.
type Report struct {
	CheckedAt time.Time  `json:"checked_at"` // zero before the first check
	Rows      int        `json:"rows"`       // rows with responses in the last five minutes
	Incidents []Incident `json:"incidents"`  // those with the most affected requests first
}

// Report returns the result of the last check. The caller must not change it.
func (w *Watch) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.report
	if r.Incidents == nil {
		r.Incidents = []Incident{}
	}
	return r
}

// Count returns the number of incidents of a kind.
func (w *Watch) Count(kind Kind) (n int) {
	for _, i := range w.Report().Incidents {
		if i.Kind == kind {
			n++
		}
	}
	return n
}

func (w *Watch) publish(now time.Time) {
	r := Report{CheckedAt: now.UTC(), Rows: len(w.windows), Incidents: make([]Incident, 0, len(w.cases))}
	first := stats.MinuteOf(now) - windowMinutes + 1
	for _, of := range w.cases {
		if of.known {
			r.Incidents = append(r.Incidents, of.describe(w.windowOf(of.key), first))
		}
	}
	slices.SortFunc(r.Incidents, func(a, b Incident) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Affected, a.Affected), cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Method, b.Method), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Route, b.Route))
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = r
}

// clearMin is the minimum number of responses after the first minute of an incident. With fewer, the displayed share includes the first
// minute, although the incident began at some time within that minute, and not all of it is part of the incident.
const clearMin = 10

// describe returns what the report says about an incident. first is the first minute of the window.
func (i *incident) describe(w *window, first int64) Incident {
	out := Incident{
		Kind: i.kind, Host: i.key.Host, Method: i.key.Method, Path: i.key.Label, Route: i.key.Route,
		Since: stats.MinuteStart(i.since), UsualShare: i.common(), UsualCount: i.usual.count, Affected: i.before.bad,
	}
	from := min(max(first, i.since), first+windowMinutes-1) // the clock may have been set back
	for m := from; m < first+windowMinutes; m++ {
		out.Affected += uint64(i.bad(w[m-first]))
	}
	if after := w.last(int(first + windowMinutes - from - 1)); from == i.since && after.count >= clearMin {
		from++
	}
	shown := w.last(int(first + windowMinutes - from))
	out.From, out.Count, out.Bad = stats.MinuteStart(from), uint64(shown.count), uint64(i.bad(shown))
	out.Share = share(out.Bad, out.Count)
	if i.kind == Slow {
		out.UsualCount = i.usual.timed
		out.UsualP95, out.P95 = i.usual.p95, i.latency.Quantile(0.95)
	}
	return out
}
